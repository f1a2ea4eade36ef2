import json

import pytest

from runtime.bundle.results.neighbours_json import read_neighbours, write_neighbours
from runtime.errors import BundleError
from tests.helpers.report_samples import sample_neighbours


def test_a_check_comes_back_from_its_file(tmp_path):
    file = tmp_path / "neighbours.json"
    check = sample_neighbours(tmp_path / "tiny-int8")
    write_neighbours(file, check)
    assert read_neighbours(file) == check
    assert json.loads(file.read_text())["schema_version"] == 1
    # Written beside and renamed: nothing else is left.
    assert [path.name for path in tmp_path.iterdir()] == ["neighbours.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "has schema version 2, this run-ssl reads up to 1"),
        ({"engine": 3}, r"is not a check of neighbours \(engine: .*run-ssl embed BUNDLE IMAGES --check --save"),
        ({"more": 1}, "is not a check of neighbours"),
    ],
)
def test_a_newer_file_is_told_from_a_broken_one(tmp_path, change, said):
    file = tmp_path / "neighbours.json"
    fields = json.loads(sample_neighbours(tmp_path / "tiny-int8").model_dump_json())
    file.write_text(json.dumps({**fields, **change}))
    with pytest.raises(BundleError, match=said):
        read_neighbours(file)


def test_nan_and_an_absent_file_are_one_line(tmp_path):
    file = tmp_path / "neighbours.json"
    with pytest.raises(BundleError, match="No such file"):
        read_neighbours(file)
    text = sample_neighbours(tmp_path / "tiny-int8").model_dump_json()
    file.write_text(text.replace('"recall":0.953', '"recall":NaN'))
    assert "NaN" in file.read_text()
    with pytest.raises(BundleError, match="finite"):
        read_neighbours(file)
