"""Outputs of a stranger: what a record, a description or a part claims is held against what is there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.embed.output.identity import read_job
from runtime.embed.output.part_files import read_part
from runtime.embed.output.part_keys import part_keys
from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.errors import BundleError
from runtime.search.gallery import Gallery, open_gallery
from tests.helpers.bundles import DIM
from tests.helpers.embed_jobs import embed, searchable_job

ROWS = 3
PART = Path("data") / "part-000000"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    """A job of three pictures in one part."""
    return searchable_job(tmp_path, monkeypatch, range(ROWS), part_images=ROWS)


def change_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_bytes()) | values))


def read_all(gallery: Gallery) -> object:
    return list(gallery.blocks()), gallery.described(range(ROWS))


@pytest.mark.parametrize("size", [0, -1])
def test_a_job_of_parts_without_images_is_refused(job: EmbedRequest, size: int) -> None:
    embed(job)
    change_json(job.output / "_job.json", part_images=size)
    with pytest.raises(BundleError, match="part_images: Input should be greater than or equal to 1"):
        open_gallery(job.output)


# To look for each of so many would take years.
@pytest.mark.timeout(60)
def test_parts_that_a_job_claims_are_not_looked_for_one_by_one(job: EmbedRequest) -> None:
    embed(job)
    found = json.loads((job.output / "_job.json").read_bytes())["images"]
    change_json(job.output / "_job.json", images=found | {"count": ROWS * 2**62})
    with pytest.raises(BundleError, match=f"has 1 of {2**62} parts"):
        open_gallery(job.output)


@pytest.mark.parametrize("name", ["../part-000000.parquet", "/etc/hostname", "part-000000.parquet\n", "x" * 5000])
def test_a_record_that_names_a_file_elsewhere_is_refused(job: EmbedRequest, name: str) -> None:
    embed(job)
    change_json(job.output / "_parts" / "part-000000.json", files=[{"name": name, "size_bytes": 1}])
    with pytest.raises(BundleError, match=r"is not a part's record \(files.0.name"):
        read_part(job.output, 0)


@pytest.mark.parametrize("format_", ["parquet", "npy"])
@pytest.mark.parametrize("rows", [ROWS - 1, 2**62])
def test_a_record_of_another_number_of_rows_is_refused(job: EmbedRequest, format_: Any, rows: int) -> None:
    embed(replace(job, writing=OutputChoice(format=format_)))
    change_json(job.output / "_parts" / "part-000000.json", rows=rows)
    with pytest.raises(BundleError, match=f"has 3 rows, its record says {rows}"):
        list(open_gallery(job.output).blocks())


def without(table: pa.Table, column: str) -> pa.Table:
    return table.drop_columns([column])


def instead(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, values)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("key", None, "a row has no key or no sha256"),
        ("sha256", None, "a row has no key or no sha256"),
        ("sha256", pa.array([1] * ROWS), "a row has no key or no sha256"),
        ("key", pa.array(["a", None, "c"]), "a row has no key or no sha256"),
        ("embedding", None, "embedding"),
        ("embedding", pa.array(["x"] * ROWS), "its embeddings are of type string, expected lists of numbers"),
        ("embedding", pa.array([[1] * DIM] * ROWS), f"has {ROWS * DIM} numbers of int64, expected {ROWS} embeddings"),
        ("embedding", pa.array([[0.5]] * ROWS, pa.list_(pa.float32())), f"has {ROWS} numbers of float32, expected"),
        ("embedding", pa.array([None] * ROWS, pa.list_(pa.float32())), "has 0 numbers of float32, expected"),
    ],
)
def test_a_parquet_part_of_other_columns_is_refused(
    job: EmbedRequest, column: str, values: pa.Array | None, problem: str
) -> None:
    embed(job)
    file = job.output / f"{PART}.parquet"
    table = parquet.read_table(file)
    parquet.write_table(without(table, column) if values is None else instead(table, column, values), file)
    change_json(
        job.output / "_parts" / "part-000000.json", files=[{"name": file.name, "size_bytes": file.stat().st_size}]
    )
    with pytest.raises(BundleError, match=rf"part-000000.parquet cannot be read \(.*{problem}"):
        read_all(open_gallery(job.output))


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((ROWS, DIM), np.int64), "numbers of int64"),
        (np.zeros((ROWS, DIM + 1), np.float32), f"expected {ROWS} embeddings of {DIM} numbers"),
        (np.float32(1), "unsized"),
    ],
)
def test_a_npy_part_of_another_array_is_refused(job: EmbedRequest, array: Any, problem: str) -> None:
    embed(replace(job, writing=OutputChoice(format="npy")))
    file = job.output / f"{PART}.npy"
    np.save(file, array)
    record = job.output / "_parts" / "part-000000.json"
    sizes = [one | {"size_bytes": (job.output / "data" / one["name"]).stat().st_size} for one in files_of(record)]
    change_json(record, files=sizes)
    with pytest.raises(BundleError, match=problem):
        read_all(open_gallery(job.output))


@pytest.mark.parametrize("line", ["[]", "7", '{"key": 5}', "{}"])
def test_keys_that_are_no_text_are_refused(job: EmbedRequest, line: str) -> None:
    embed(replace(job, writing=OutputChoice(format="npy")))
    record = read_part(job.output, 0)
    (job.output / f"{PART}.jsonl").write_text(f"{line}\n")
    with pytest.raises(BundleError, match=r"part-000000.jsonl cannot be read"):
        list(part_keys(job.output, record))
    with pytest.raises(BundleError, match=r"part-000000.jsonl cannot be read"):
        Gallery(job.output, read_job(job.output), (0, ROWS)).described([0])


def files_of(record: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(record.read_bytes())["files"]
    return found
