"""Other programs that run model.onnx: their lines are run apart, and what they say is told in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.documents.scale_costs import fill
from benchmarks.runtimes.environments import Environment, RefusedError
from benchmarks.runtimes.measure import DOCUMENT, KINDS, tables
from benchmarks.runtimes.programs import PROGRAMS, Program

PIXELS = np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3)
# The model is a file of four bytes; a program that takes one image at a time fails with more.
LINES = """\
import numpy as np

factor = len(open("model.onnx", "rb").read())
assert len(pixels) <= LIMIT
logits = factor * pixels.astype(np.float32).sum((1, 2))
embedding = pixels.astype(np.float32).reshape(len(pixels), -1)"""


def here(lines: str, *, one_by_one: bool = False) -> Environment:
    """Return a program of this environment's own Python."""
    return Environment(Program("NumPy", ("numpy==2",), lines, one_by_one=one_by_one), Path(sys.prefix))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"four")
    return path


@pytest.mark.parametrize("one_by_one", [False, True])
def test_outputs_of_a_program_come_back_whether_it_takes_one_image_or_all(model: Path, one_by_one: bool) -> None:
    found = here(LINES.replace("LIMIT", "1" if one_by_one else "2"), one_by_one=one_by_one).run(model, PIXELS)
    np.testing.assert_array_equal(found["logits"], 4.0 * PIXELS.astype(np.float32).sum((1, 2)))
    np.testing.assert_array_equal(found["embedding"], PIXELS.reshape(2, 27))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("raise ValueError('no such operator: Cast-19')", "ValueError: no such operator: Cast-19"),
        ("print('Error: node 3', flush=True)\nraise ValueError('nothing came back')", "Error: node 3"),
        ("import os\nos._exit(3)", "ended with code 3"),
    ],
)
def test_a_program_that_fails_is_quoted_with_the_line_that_names_an_error(model: Path, lines: str, reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        here(lines).run(model, PIXELS)
    assert str(caught.value) == reason


def test_the_table_numbers_each_reason_once_and_marks_what_is_too_far_away() -> None:
    kinds = [*KINDS]
    near = {"sqnr_db": {"logits": 117.4, "embedding": 121.0}, "passes": True}
    far = {"sqnr_db": {"logits": 22.6, "embedding": None}, "passes": False}
    no = {"reason": "no `Cast`"}
    found = {PROGRAMS[0].name: {kinds[0]: near, kinds[1]: far, kinds[2]: no, kinds[3]: no}}
    made = tables({"programs": found})
    first = made["programs"].splitlines()[2]
    assert first.split(" | ")[1:] == ["117", "**23**", "no (1)", "no (1)", "-", "- |"]
    assert made["reasons"] == "1. `no Cast`\n"
    assert all(f"**{program.name}**" in made["lines"] for program in PROGRAMS)


def test_the_page_has_every_table() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    filled = fill(page, {"programs": "p\n", "reasons": "r\n", "lines": "l\n"})
    assert filled.count("\np\n") == filled.count("\nr\n") == filled.count("\nl\n") == 1
