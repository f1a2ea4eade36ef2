"""The fuzz that coverage guides: what it counts, and that it keeps what it learned."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import DataError
from tests.helpers.paths import ROOT
from tests.torture import guided
from tests.torture.guided import Watched
from tests.torture.surfaces import Surface


def watched(tmp_path: Path) -> Watched:
    """A surface that reads `0`, refuses `1`, and fails at anything else."""
    file = tmp_path / "file"

    def read() -> int:
        if file.read_bytes() == b"1":
            raise DataError("one line")
        return {b"0": 0}[file.read_bytes()]

    def change(rng: random.Random, data: bytes) -> bytes:
        return data + bytes([rng.randrange(256)])

    (tmp_path / "faults").mkdir()
    return Watched(Surface(file, change, read), tmp_path / "counts.json", tmp_path / "faults")


def test_each_answer_is_counted_and_a_fault_is_kept_once(tmp_path: Path) -> None:
    one = watched(tmp_path)
    for data in (b"0", b"1", b"1", b"x", b"x"):
        one.try_one(data)
    found = json.loads((tmp_path / "counts.json").read_bytes())
    assert (found["inputs"], found["read"], found["refused"]) == (5, 1, {"DataError": 2})
    ((number, what),) = found["faults"]
    assert number == 4
    assert what.startswith("KeyError: b'x'")
    assert [file.read_bytes() for file in (tmp_path / "faults").iterdir()] == [b"x"]


def test_without_atheris_the_program_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["guided", "--only", "labels_csv"])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    guided.main()
    assert "pip install -e '.[fuzz]'" in capsys.readouterr().out


def test_a_surface_is_fuzzed_and_inputs_that_reach_new_code_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: pip install -e '.[fuzz]'")
    words = ["--seconds", "3", "--only", "labels_lines", "--json", str(tmp_path / "guided.json")]
    subprocess.run([sys.executable, "-m", "tests.torture.guided", *words], check=True, cwd=ROOT, timeout=600)
    found = json.loads((tmp_path / "guided.json").read_bytes())["labels_lines"]
    assert found["faults"] == []
    assert found["inputs"] == found["read"] + sum(found["refused"].values()) > 20
    assert found["corpus"] > 2
