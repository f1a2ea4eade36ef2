"""The page of a search in a real browser: it opens from disk, shows its pictures, sorts, and asks no network."""

from pathlib import Path

import pytest

import runtime.search.query
from runtime.embed.request import EmbedRequest
from runtime.search.job import run_search
from runtime.search.page import write_page
from runtime.search.request import SearchRequest
from tests.helpers.browser import CATCH, FRAME, open_in_browser
from tests.helpers.bundles import write_hand_made
from tests.helpers.embed_jobs import SumEngine, embed, picture_folder, use_engine
from tests.helpers.image_folders import write_picture

K = 9
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const root = document.documentElement;
  const seen = { errors: window.seenErrors || [], width: root.scrollWidth, page: root.clientWidth };
  seen.requests = performance.getEntriesByType("resource").map(entry => entry.name);
  const pictures = [...document.querySelectorAll(".gallery img")];
  seen.pictures = pictures.map(one => ({ name: one.alt, drawn: one.complete && one.naturalWidth > 0 }));
  const table = document.querySelector("table.sortable");
  table.tHead.rows[0].cells[2].querySelector("button").click();
  seen.distances = [...table.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value));
  const note = document.createElement("pre");
  note.id = "seen";
  note.textContent = JSON.stringify(seen);
  document.body.append(note);
  parent.postMessage(note.textContent, "*");
}, 500));
</script>
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_engine(monkeypatch, SumEngine())
    monkeypatch.setattr(runtime.search.query, "load_engine", lambda *_arguments: SumEngine())
    pictures = picture_folder(tmp_path / "pictures", range(12))
    write_picture(pictures / ("long-" * 20 + "<script>alert(1)</script>.png".replace("/", "")), 99)
    output = tmp_path / "out"
    embed(EmbedRequest(write_hand_made(tmp_path / "bundle"), (pictures,), output, batch_size=1))
    query = write_picture(tmp_path / "query.png", 99)
    text = write_page(run_search(SearchRequest(output, (query,), k=K)))
    path = tmp_path / "page.html"
    path.write_text(text.replace("<head>", f"<head>{CATCH}", 1).replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_every_picture_is_shown_and_the_table_sorts_on_a_phone_and_on_a_screen(
    page: Path, tmp_path: Path, width: int
) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width), encoding="utf-8")
    seen, _ = open_in_browser(frame, tmp_path, "--window-size=1400,2100")
    assert seen["errors"] == []
    assert [one["drawn"] for one in seen["pictures"]] == [True] * (1 + K)
    names = [one["name"] for one in seen["pictures"]]
    assert names[0] == "query.png"
    assert "<script>" in names[1]
    assert seen["distances"] == sorted(seen["distances"], reverse=True)
    assert len(seen["distances"]) == K
    assert [name for name in seen["requests"] if not name.startswith(("data:", "blob:"))] == []
    assert seen["width"] <= seen["page"] <= width
