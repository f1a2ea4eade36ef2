"""Hostile files of every surface: some of each here, by the thousand in `make torture`; and what counts as a fault."""

import json
import os
import random
import sys
import time
from pathlib import Path

import pytest

from runtime.errors import DataError
from tests.torture.fuzz import answer, changed_file, fuzz, main
from tests.torture.surfaces import SURFACES, Surface

INPUTS = 40


@pytest.mark.parametrize("name", SURFACES)
def test_changed_files_are_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    surface = SURFACES[name](tmp_path)
    valid = surface.file.read_bytes()
    assert answer(surface.read) == ("read", "")
    answers = []
    for number in range(INPUTS):
        surface.file.write_bytes(changed_file(SURFACES[name], surface, valid, 1, number))
        answers.append(answer(surface.read))
    assert [f"input {number}: {what}" for number, (kind, what) in enumerate(answers) if kind == "fault"] == []
    assert "refused" in {kind for kind, _ in answers}, "a surface that refuses nothing was not tried"


def same(_rng: random.Random, data: bytes) -> bytes:
    return data


def last_byte(rng: random.Random, data: bytes) -> bytes:
    return data[:-1] + bytes([rng.randrange(10)])


def surface_that(folder: Path, act: "dict[int, object]") -> Surface:
    """Return a surface whose file ends in a digit, and what happens at each: an error, or a call."""
    file = folder / "file"
    file.write_bytes(b"\xff")

    def read() -> object:
        found = act.get(file.read_bytes()[-1])
        if isinstance(found, Exception):
            raise found
        return found() if callable(found) else None

    return Surface(file, last_byte, read)


def raises(folder: Path) -> Surface:
    return surface_that(folder, {3: KeyError("missing"), 4: DataError(" "), 5: DataError("one line")})


def ends(folder: Path) -> Surface:
    return surface_that(folder, {3: lambda: os._exit(1)})


def hangs(folder: Path) -> Surface:
    return surface_that(folder, {3: lambda: time.sleep(60)})


def writes(folder: Path) -> Surface:
    return surface_that(folder, {3: lambda: (folder.parent / "outside").write_bytes(b"")})


def never_reads(folder: Path) -> Surface:
    return surface_that(folder, {255: DataError("not even the valid one")})


def digits(make: object, inputs: int) -> "list[int]":
    """Return the digit of each input, as `changed_file` draws it."""
    name = make.__name__  # type: ignore[attr-defined]
    return [random.Random(f"{name} 0 {number}").randrange(10) for number in range(inputs)]  # noqa: S311


def test_an_error_that_is_not_the_projects_is_a_fault_and_so_is_one_that_says_nothing() -> None:
    found, drawn = fuzz(raises, inputs=60, seed=0), digits(raises, 60)
    assert (found.inputs, found.refused["DataError"]) == (60, drawn.count(5))
    assert [number for number, _ in found.faults] == [at for at, digit in enumerate(drawn) if digit in (3, 4)]
    assert {what.split(" (")[0] for _, what in found.faults} == {
        "KeyError: 'missing'",
        "the message of a DataError is not one line: ' '",
    }


@pytest.mark.parametrize(
    ("make", "what"),
    [(ends, "ends the process"), (hangs, "takes more than 2 s"), (writes, "a file was written outside")],
)
def test_what_ends_hangs_or_writes_elsewhere_is_a_fault_and_the_next_inputs_are_read(make: object, what: str) -> None:
    drawn = digits(make, 30)
    found = fuzz(make, inputs=30, seed=0, slowest=2)  # type: ignore[arg-type]
    expected = [at for at, digit in enumerate(drawn) if digit == 3]
    assert expected
    assert [number for number, _ in found.faults] == expected
    assert all(text.startswith(what) for _, text in found.faults)
    assert found.inputs == 30


def test_a_surface_that_does_not_read_its_valid_file_is_a_fault() -> None:
    assert "the valid file is not read" in fuzz(never_reads, inputs=3, seed=0).faults[0][1]


def test_the_counts_are_written_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["fuzz", "--inputs", "20", "--only", "labels_lines", "--json", str(tmp_path / "counts.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=r"^False$"):
        main()
    found = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))["labels_lines"]
    assert found["inputs"] == 20
    assert found["read"] + sum(found["refused"].values()) == 20
