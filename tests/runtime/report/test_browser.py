"""The report in a real browser: it opens from disk, asks no network, draws its plots, and sorts its tables."""

import re
from pathlib import Path

import pytest

from runtime.report.build_report import build_report
from runtime.report.html_page import write_html
from runtime.report.inputs import ReportRequest
from tests.helpers.browser import CATCH, FRAME, open_in_browser
from tests.helpers.report_samples import write_everything, write_plan

# Clicks the heading of every sortable table, twice, and notes what the browser made of it.
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const root = document.documentElement;
  const seen = { errors: window.seenErrors || [], plots: 0, drawn: 0, tables: [] };
  seen.width = root.scrollWidth;
  seen.page = root.clientWidth;
  seen.requests = performance.getEntriesByType("resource").map(entry => entry.name);
  for (const place of document.querySelectorAll(".js-plotly-plot")) {
    seen.plots += 1;
    seen.drawn += place.querySelectorAll("svg.main-svg path").length > 3 ? 1 : 0;
  }
  for (const table of document.querySelectorAll("table")) {
    const headings = [...table.tHead.rows[0].cells];
    const column = headings.findIndex(cell => cell.classList.contains("number") && cell.querySelector("button"));
    if (column < 0) continue;
    const heading = headings[column];
    const values = () => [...table.tBodies[0].rows].map(row => row.cells[column].dataset.value)
      .filter(value => value !== undefined).map(Number);
    heading.querySelector("button").click();
    const first = values(), firstSort = heading.getAttribute("aria-sort");
    heading.querySelector("button").click();
    seen.tables.push({ first, firstSort, second: values(), secondSort: heading.getAttribute("aria-sort") });
  }
  const widths = () => Math.max(...[...document.querySelectorAll(".plot svg.main-svg")].map(svg => svg.clientWidth));
  seen.screen = widths();
  dispatchEvent(new Event("beforeprint"));
  seen.paper = widths();
  dispatchEvent(new Event("afterprint"));
  seen.after = widths();
  const note = document.createElement("pre");
  note.id = "seen";
  note.textContent = JSON.stringify(seen);
  document.body.append(note);
  parent.postMessage(note.textContent, "*");
}, 1500));
</script>
"""


def write_page(folder: Path, bundles: tuple[Path, ...]) -> Path:
    """Write a report with the probe in it and return its path."""
    text = write_html(build_report(ReportRequest(bundles)))
    assert text.count("<head>") == 1
    probed = text.replace("<head>", f"<head>{CATCH}").replace("</body>", f"{PROBE}</body>")
    path = folder / "report.html"
    path.write_text(probed, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    bundles = write_everything(folder)
    write_plan(bundles[1])
    return write_page(folder, bundles)


@pytest.fixture(scope="module")
def four_bundles(tmp_path_factory):
    """A page on four bundles with long names, of which two have plans."""
    folder = tmp_path_factory.mktemp("four")
    first = write_everything(folder)
    write_plan(first[1])
    (folder / "again").mkdir()
    others = write_everything(folder / "again")
    write_plan(others[1])
    # The same results again would be those of bundles of the same names.
    renamed = tuple(path.rename(folder / f"{path.name}-with-another-classifier") for path in others)
    for file in ("bench.json", "compare.json", "changed.json"):
        (renamed[1] / "results" / file).unlink()
    return write_page(folder, (*first, *renamed))


@pytest.fixture(scope="module")
def wide(page, tmp_path_factory):
    return open_in_browser(page, tmp_path_factory.mktemp("wide"), "--window-size=1280,2000")


def test_plots_fit_on_paper_and_are_redrawn_for_the_screen(wide):
    # A4, 210 mm at 96 pixels per 25.4 mm, less two margins of 12 mm.
    assert 600 < wide[0]["paper"] <= (210 - 2 * 12) * 96 / 25.4
    assert wide[0]["after"] == wide[0]["screen"] > wide[0]["paper"]


@pytest.mark.parametrize("width", [390, 1280])
def test_four_bundles_fit_on_the_page(four_bundles, tmp_path, width):
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=four_bundles.as_uri(), width=width), encoding="utf-8")
    seen, _ = open_in_browser(frame, tmp_path, "--window-size=1400,2100")
    assert seen["page"] <= width
    assert seen["errors"] == []
    assert seen["drawn"] == seen["plots"] >= 8
    assert seen["width"] <= seen["page"]


def test_nothing_complains_on_the_console(wide):
    assert wide[0]["errors"] == []


def test_every_plot_is_drawn(wide):
    assert wide[0]["plots"] >= 5
    assert wide[0]["drawn"] == wide[0]["plots"]


def test_tables_sort_by_number_in_both_directions(wide):
    tables = [table for table in wide[0]["tables"] if len(set(table["first"])) > 1]
    assert tables
    for table in tables:
        assert (table["firstSort"], table["secondSort"]) == ("descending", "ascending")
        assert table["first"] == sorted(table["first"], reverse=True)
        assert table["second"] == sorted(table["second"])


def test_the_network_is_not_asked(wide):
    seen, log = wide
    assert [name for name in seen["requests"] if not name.startswith(("data:", "blob:"))] == []
    # The browser's own services are off; what is left would be the page's.
    asked = set(re.findall(r'"url":"(https?://[^"]+)"', log))
    assert {url for url in asked if not re.search(r"google|gstatic|gvt1|chromium", url)} == set()


@pytest.mark.parametrize("arguments", [["--window-size=520,2000"], ["--window-size=1280,2000", "--force-dark-mode"]])
def test_it_works_on_a_narrow_page_and_in_the_dark(page, tmp_path, arguments):
    seen, _ = open_in_browser(page, tmp_path, *arguments)
    assert seen["errors"] == []
    assert seen["drawn"] == seen["plots"] >= 5
    # The page itself does not scroll sideways; wide tables do, inside their frames.
    assert seen["width"] <= seen["page"]
