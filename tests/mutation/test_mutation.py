"""`make mutation`: a test that sees a fault kills its mutant, one that does not leaves it, and the counts say so."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from tests.mutation.judged import JUDGED, Judged
from tests.mutation.mutants import Mutant, changed_lines, draw, is_python_change, mutants_of
from tests.mutation.result import Counts, Result, Survivor, parse_result
from tests.mutation.trial import TrialError
from tests.mutation.write_page import EQUIVALENT, score, write_page

SOURCE = '''"""Areas."""

from typing import Literal

Base = object

LIMIT: Literal[3] = 3


class Side(Base):
    length: Literal[7] | None = 5


def area(width: int | None, *, height: int) -> int:
    if width is None:
        raise ValueError("a width of " + "None")
    assert height >= 0
    return width * height
'''
SEES = """from typing import Literal

from area import LIMIT, Side, area


def test_area():
    assert area(3, height=5) == 15
    assert (LIMIT, Side.length) == (3, 5)
    assert Side.__annotations__ == {"length": Literal[7] | None}
"""
SEES_NOTHING = "import area\n\n\ndef test_area():\n    assert area.area\n"
INSTALL = "pip install 'export-ssl[mutation]'"


def mutant(file: str, line: int, column: int, operator: str = "x") -> Mutant:
    return Mutant(file, line, column, operator, lambda: "")


def test_no_place_is_drawn_twice_before_every_place_was_drawn_once() -> None:
    mutants = [mutant("a", 1, 0, str(i)) for i in range(11)] + [mutant("a", 1, 4), mutant("a", 2, 0), mutant("b", 1, 0)]
    order = draw(mutants, seed=5)
    assert len(order) == 14
    assert {(one.file, one.line, one.column) for one in order[:4]} == {
        ("a", 1, 0),
        ("a", 1, 4),
        ("a", 2, 0),
        ("b", 1, 0),
    }
    assert {one.operator for one in order} == {"x", *map(str, range(11))}
    assert [id(one) for one in order] == [id(one) for one in draw(mutants, seed=5)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a\n  b = 1\nc\n", "a\n  b = 2\nc\n", ("b = 1", "b = 2")),
        ("a\nb\nc\n", "a\nc\n", ("b", "")),
        ("a\na\n", "a\na\na\n", ("", "a")),
        ("a\nb\n", "a\nb\n", ("", "")),
    ],
)
def test_a_change_is_shown_by_its_lines(before: str, after: str, expected: tuple[str, str]) -> None:
    assert changed_lines(before, after) == expected


def test_what_is_no_python_or_means_the_same_is_no_mutant() -> None:
    assert is_python_change("a = 1\n", "a = 2\n")
    assert not is_python_change("a = 1\n", "a =  1  # as before\n")
    assert not is_python_change("a = 1\n", "a = = 1\n")


def test_types_messages_and_assertions_have_no_mutants() -> None:
    pytest.importorskip("cosmic_ray", reason=INSTALL)
    assert {(one.line, SOURCE.splitlines()[one.line - 1].strip()) for one in mutants_of("area.py", SOURCE)} == {
        (7, "LIMIT: Literal[3] = 3"),
        (11, "length: Literal[7] | None = 5"),
        (15, "if width is None:"),
        (18, "return width * height"),
    }
    # Of the constant its value alone, of pydantic's field what it may be too, but not `| None`.
    assert {one.column for one in mutants_of("area.py", SOURCE) if one.line == 7} == {20}
    assert {one.column for one in mutants_of("area.py", SOURCE) if one.line == 11} == {20, 32}


def test_mutants_of_cpp_change_one_line_of_code_and_no_comment() -> None:
    pytest.importorskip("universalmutator", reason=INSTALL)
    text = "// Adds one + one.\nint add(int a, int b) {\n    return a + b;\n}\n"
    found = mutants_of("add.cpp", text)
    assert {one.line for one in found} == {2, 3, 4}
    made = {changed_lines(text, one.make()) for one in found}
    assert ("return a + b;", "return a - b;") in made
    assert ("return a + b;", "/*return a + b;*/") in made


def project(folder: Path, test: str) -> Path:
    """Make a project with one module and one test in git's eyes."""
    folder.mkdir()
    (folder / "area.py").write_text(SOURCE, encoding="utf-8")
    (folder / "test_area.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def tried(root: Path, folder: Path) -> Counts:
    from tests.mutation.run import run

    result = Result(0, 100, "on a machine", {})
    judged = {"areas": Judged(sources=("area.py",), tests=("test_area.py",))}
    lines = list(run(root, judged, result, folder=folder, minutes=5, output=root / "result.json"))
    assert len(lines) == 1 + result.parts["areas"].tried
    return result.parts["areas"]


def test_a_test_that_sees_the_faults_kills_their_mutants_and_the_project_is_as_before(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray", reason=INSTALL)
    root = project(tmp_path / "project", SEES)
    counts = tried(root, tmp_path / "copy")
    assert counts.tried > 10
    assert counts.survivors == []
    assert (root / "area.py").read_text(encoding="utf-8") == SOURCE
    assert not (tmp_path / "copy").exists()


def test_a_test_that_sees_nothing_leaves_them_alive_with_their_lines(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray", reason=INSTALL)
    counts = tried(project(tmp_path / "project", SEES_NOTHING), tmp_path / "copy")
    assert counts.killed == counts.timed_out == 0
    sums = {one.after for one in counts.survivors if one.before == "return width * height"}
    assert {"return width + height", "return width // height"} <= sums
    assert {one.line for one in counts.survivors} == {7, 11, 15, 18}


def test_a_test_that_fails_on_the_unchanged_code_judges_nothing(tmp_path: Path) -> None:
    pytest.importorskip("cosmic_ray", reason=INSTALL)
    root = project(tmp_path / "project", SEES.replace("15", "16"))
    with pytest.raises(TrialError, match=r"do not pass on the unchanged code: test_area\.py"):
        tried(root, tmp_path / "copy")


def test_every_source_and_every_test_that_is_named_is_there() -> None:
    for part in JUDGED.values():
        named = [*part.sources, *(word for word in part.tests if "/" in word)]
        assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_page_counts_equivalent_survivors_apart_and_names_every_survivor() -> None:
    survivors = [Survivor("a.py", 7, "x", "a + 0", "a - 0"), Survivor("a.py", 3, "x", "b", "c")]
    counts = Counts(("t",), mutants=50, places=20, seconds=1.0, killed=6, timed_out=2, survivors=survivors)
    first = Counts(("t",), mutants=50, places=20, seconds=1.0, killed=3, timed_out=0, survivors=survivors * 2)
    reasons = {("a.py", "a + 0", "a - 0"): f"{EQUIVALENT}nothing is added."}
    # 8 of the 9 that can be seen, and 3 of 5.
    assert score(counts, reasons) == pytest.approx(8 / 9)
    result, earlier = (Result(0, 10, "on a machine", {"x": "1"}, {"part": one}) for one in (counts, first))
    page = write_page(parse_result(result.as_json()), earlier, reasons)
    assert "| part | 50 | 20 | 10 | 6 | 2 | 2 | 1 | 89 % (before: 60 %) |" in page
    assert "- `a.py:7`: `` a + 0 `` became `` a - 0 ``. Equivalent: nothing is added." in page
    assert page.index("`a.py:3`") < page.index("`a.py:7`")
