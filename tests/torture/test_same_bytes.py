"""What the program of the same bytes says of two files, and the table that the page has of it."""

import json
import re
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.tiny_resnet import tiny_resnet
from tests.torture.byte_differences import ROWS, cell, difference, page_table
from tests.torture.same_bytes import COMMANDS, PAGE, PROMISED, RESULT, SETTINGS, compare_folders, earlier


@pytest.fixture
def files(tmp_path):
    """Return a function that gives two paths of one name."""

    def make(name):
        for folder in ("first", "other"):
            (tmp_path / folder).mkdir(exist_ok=True)
        return tmp_path / "first" / name, tmp_path / "other" / name

    return make


def test_files_with_the_same_bytes_differ_in_nothing(files):
    for path in (pair := files("a.bin")):
        path.write_bytes(b"same")
    assert difference(*pair) == ""


def test_a_file_that_is_not_there_is_said(files):
    first, other = files("a.bin")
    first.write_bytes(b"a")
    assert difference(first, other) == "is not there"


def test_numbers_are_told_by_their_largest_difference_over_the_largest_magnitude(files):
    first, other = files("a.npy")
    np.save(first, np.array([1.0, -4.0], np.float32))
    np.save(other, np.array([1.5, -4.0], np.float32))
    assert difference(first, other) == "numbers, up to 1e-01"  # 0.5 / 4, one digit


def test_arrays_of_other_shapes_are_said(files):
    first, other = files("a.npy")
    np.save(first, np.zeros(2))
    np.save(other, np.zeros(3))
    assert difference(first, other) == "other shapes"


def test_the_fields_of_a_json_file_that_differ_are_named(files):
    first, other = files("a.json")
    first.write_text('{"tools": 1, "files": 2, "opset": 20}', encoding="utf-8")
    other.write_text('{"tools": 2, "opset": 20, "more": 1}', encoding="utf-8")
    assert difference(first, other) == "fields `tools`, `files`, `more`"


def test_a_graph_differs_in_its_numbers_its_metadata_or_its_nodes(files):
    first, other = files("a.onnx")
    onnx.save(tiny_resnet(), first)
    changed = tiny_resnet()
    changed.doc_string = "another"
    onnx.save(changed, other)
    assert difference(first, other) == "metadata"
    weight = next(one for one in changed.graph.initializer if one.name == "fc.weight")
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.5), "fc.weight"))
    onnx.save(changed, other)
    assert difference(first, other) == "numbers, up to 5e-01"
    changed.graph.node[0].name = "another"
    onnx.save(changed, other)
    assert difference(first, other) == "another graph"


def test_the_columns_of_parquet_are_compared(files):
    first, other = files("a.parquet")
    pq.write_table(pa.table({"key": ["a"], "embedding": [[1.0, 2.0]]}), first)
    pq.write_table(pa.table({"key": ["a"], "embedding": [[1.0, 1.0]]}), other)
    assert difference(first, other) == "numbers, up to 5e-01"
    pq.write_table(pa.table({"key": ["b"], "embedding": [[1.0, 2.0]]}), other)
    assert difference(first, other) == "column key"


def test_a_row_says_the_largest_difference_of_its_files():
    assert cell(["", ""]) == "same"
    assert cell([]) == "-"
    assert cell(["", "numbers, up to 2e-07", "numbers, up to 1e-06"]) == "numbers, up to 1e-06"
    assert cell(["fields `a`, `b`", "fields `b`, `c`"]) == "fields `a`, `b`, `c`"
    assert cell(["numbers, up to 1e-06", "another graph"]) == "another graph"


def test_files_of_commands_that_were_left_out_are_not_compared(tmp_path):
    for name in ("first/fp32/a", "first/fp16/a", "other/fp32/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("same", encoding="utf-8")
    assert compare_folders(tmp_path / "first", tmp_path / "other") == {"fp32/a": ""}


def test_the_table_has_a_row_for_what_was_made_and_a_column_for_what_ran():
    settings: dict[str, dict[str, Any]] = {
        "again": {"title": "again", "files": {"fp32/model.onnx": "", "repository/a": ""}},
        "other": {"title": "other", "files": {"fp32/model.onnx": "another graph"}},
        "broken": {"title": "broken", "failed": "no"},
    }
    assert page_table(settings).splitlines() == [
        "| file | again | other |",
        "| --- | --- | --- |",
        "| `model.onnx`, FP32 | same | another graph |",
        "| Triton repository | same | - |",
    ]


def test_every_setting_runs_commands_that_are_there():
    assert {name for setting in SETTINGS.values() for name in setting.commands} <= set(COMMANDS)
    assert set(PROMISED) <= set(SETTINGS)


RECORDED = json.loads(RESULT.read_text(encoding="utf-8"))["settings"]


def test_another_environment_is_recorded():
    assert RECORDED["another environment"]["files"]


@pytest.mark.parametrize("name", [name for name in PROMISED if name in RECORDED])
def test_what_is_promised_was_found(name):
    assert {file: what for file, what in RECORDED[name]["files"].items() if what} == {}


def test_every_recorded_file_has_its_row():

    files = {file for one in RECORDED.values() for file in one.get("files", {})}
    assert [file for file in sorted(files) if not any(re.fullmatch(pattern, file) for pattern in ROWS.values())] == []


def test_the_page_has_the_recorded_table():
    assert page_table(RECORDED) in PAGE.read_text(encoding="utf-8")


def test_settings_of_an_earlier_run_are_kept_if_it_had_the_same_versions(tmp_path):
    file = tmp_path / "results.json"
    assert earlier(file, {"first": {"torch": "2"}}) == {}
    found = {"settings": {"again": {"title": "again"}}, "versions": {"first": {"torch": "2"}}}
    file.write_text(json.dumps(found), encoding="utf-8")
    assert earlier(file, {"first": {"torch": "2"}}) == found["settings"]
    assert earlier(file, {"first": {"torch": "3"}}) == {}
