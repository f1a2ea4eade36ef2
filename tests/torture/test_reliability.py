"""docs/reliability.md: its numbers are those of the counts, and its prose is that of the text beside the program."""

import json
import re
from pathlib import Path

from tests.torture.write_reliability import PAGE, TEXT, write_page


def test_numbers_are_those_of_the_counts_and_what_was_not_tried_is_said(tmp_path: Path) -> None:
    counts = {"embed": {"tries": {"SIGKILL": 7, "SIGINT": 5}, "finished": 2, "faults": ["try 3: it hung"]}}
    (tmp_path / "faults.json").write_text(json.dumps(counts), encoding="utf-8")
    page = write_page(tmp_path, "on a machine")
    assert "| embed | 7 | 0 | 5 | 2 | 1 |" in page
    assert "what they counted\non a machine.\n" in page
    assert "Not tried in this run: `python -m tests.torture.power`." in page
    assert not re.search(r"\{[a-z_]+\}", page)


def test_the_table_of_a_program_that_did_not_run_again_is_kept(tmp_path: Path) -> None:
    one = {"what": "a node dies", "parts": 4, "came_at": [1, 2], "seconds": 20.4, "again_s": 0.0, "ratio": 1.25}
    trials = {"node": {**one, "rows": 1000, "each_s": [19.6, 21.4], "faults": []}}
    (tmp_path / "ray_stress.json").write_text(json.dumps({"1000": trials, "50": trials}), encoding="utf-8")
    before = write_page(tmp_path, "on a machine")
    row = "| a node dies | 1, 2 | 20 to 21 |  | 1.25 | 1,000 | 0 |"
    assert before.count(row) == 2
    assert "1,000 images in 4 parts:" in before
    assert write_page(tmp_path / "absent", "on a machine", before) == before


def test_the_page_has_the_prose_of_its_text() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for part in re.split(r"\{[a-z_]+\}", TEXT.read_text(encoding="utf-8")):
        assert part in page, "run `python -m tests.torture.write_reliability`"
