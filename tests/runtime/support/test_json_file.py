"""Versioned JSON files: what is newer than this version, what is broken, and what is said of each."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.errors import BundleError
from runtime.support.json_file import first_problem, read_known, read_versioned


class Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[2] = 2
    first: int
    second: int


@pytest.fixture
def read(tmp_path):
    file = tmp_path / "pair.json"

    def of(content):
        file.write_bytes(content)
        return read_versioned(file, Pair, otherwise="is not a pair", next_step="make it again")

    return of


def test_a_file_of_this_version_is_read(read):
    assert read(b'{"schema_version": 2, "first": 3, "second": 4}') == Pair(first=3, second=4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # What a newer version holds beside its number is not known here, so the number alone is spoken of.
        (b'{"schema_version": 3, "third": 5}', "has schema version 3, this run-ssl reads up to 2: upgrade with"),
        (b'{"schema_version": 1, "first": 3, "second": 4}', r"is not a pair \(schema_version: .*\): make it again"),
        (b'{"schema_version": 2, "first": 3}', r"is not a pair \(second: Field required\): make it again"),
        (b"[]", "is not a pair"),
        (b"{", "is not JSON .*: make it again"),
        (b"\xff\xfe{", "is not JSON .*: make it again"),
        (b"[" * 100_000, "is not JSON .*: make it again"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_next_step(read, content, said):
    with pytest.raises(BundleError, match=rf"pair\.json {said}"):
        read(content)


def test_what_an_absent_file_means_is_left_to_the_caller(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_versioned(tmp_path / "absent.json", Pair, otherwise="is not a pair", next_step="make it")


class Pairs(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[2] = 2
    pairs: tuple[Pair, ...]


def test_what_is_known_of_a_file_of_another_version_is_read(tmp_path):
    file = tmp_path / "pairs.json"
    file.write_text(
        '{"schema_version": 9, "third": [], "pairs": [{"first": 1, "second": 2, "third": {"a": 3}, "fourth": 4}]}'
    )
    assert read_known(file, Pairs, leave_out=("schema_version",)) == Pairs(pairs=(Pair(first=1, second=2),))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "Field required"),
        ("[]", "should be an object"),
        ("{", "Expecting property name"),
        ('{"pairs": [{"first": 1}]}', "pairs.0.second"),
        ('{"pairs": [], "more": NaN}', "not JSON compliant"),
    ],
)
def test_what_is_known_must_be_there_and_json(tmp_path, content, said):
    file = tmp_path / "pairs.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=said):
        read_known(file, Pairs)


def test_the_first_of_several_problems_is_named():
    with pytest.raises(ValidationError) as caught:
        Pair.model_validate({"first": "three", "second": "four"})
    assert first_problem(caught.value).startswith("first: Input should be a valid integer")
    assert first_problem(caught.value).endswith(", and 1 more")
