"""The copy of the embeddings that is not compressed holds the parts' rows, is kept, and is made anew for other rows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.errors import BundleError
from runtime.search.gallery import Gallery
from runtime.search.job import run_search
from runtime.search.request import SearchRequest
from tests.helpers.embed_jobs import embed, searchable_job
from tests.helpers.image_folders import write_picture


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    return searchable_job(tmp_path, monkeypatch, range(40), part_images=16)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_copy_holds_what_pyarrow_reads_of_the_parts(job: EmbedRequest, tmp_path: Path, dtype: Any) -> None:
    embed(replace(job, writing=OutputChoice(dtype=dtype)))
    run_search(SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), unpack=True))
    parts = [pyarrow.parquet.read_table(file)["embedding"] for file in sorted((job.output / "data").glob("*.parquet"))]
    read = np.array([row for part in parts for row in part.to_pylist()], np.float32)
    copy = np.load(job.output / "_search" / "unpacked" / "embeddings.npy", allow_pickle=False)
    assert (copy.dtype, copy.shape) == ("float32", (40, read.shape[1]))
    assert np.array_equal(copy, read)


def test_a_search_with_the_copy_finds_the_same_and_reads_no_part(
    job: EmbedRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(job)
    request = SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), k=5)
    without = run_search(request)
    stages: list[str] = []
    assert run_search(replace(request, unpack=True), stages.append).found == without.found
    assert "unpack 40 rows" in stages

    def refuse(*_arguments: object) -> None:
        raise AssertionError("a part is read")

    monkeypatch.setattr(Gallery, "mapped", refuse)
    stages.clear()
    assert run_search(request, stages.append).found == without.found
    assert run_search(replace(request, unpack=True), stages.append).found == without.found
    assert "unpack 40 rows" not in stages


def test_a_copy_of_other_rows_is_not_searched_and_made_anew_when_asked(job: EmbedRequest, tmp_path: Path) -> None:
    embed(job)
    request = SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), k=3)
    exact = run_search(request)
    run_search(replace(request, unpack=True))
    copy = job.output / "_search" / "unpacked" / "embeddings.npy"
    np.save(copy, np.ones_like(np.load(copy)))
    described = json.loads((job.output / "_job.json").read_text())
    (job.output / "_job.json").write_text(json.dumps({**described, "tool": "another"}))
    assert run_search(request).found == exact.found
    assert run_search(replace(request, unpack=True)).found == exact.found
    assert run_search(request).found == exact.found
    assert sorted(file.name for file in copy.parent.iterdir()) == ["embeddings.npy", "unpacked.json"]


@pytest.mark.parametrize("damage", ["cut off", "header", "narrower", "fewer rows", "another type"])
def test_a_damaged_copy_is_not_searched_and_made_anew_when_asked(
    job: EmbedRequest, tmp_path: Path, damage: str
) -> None:
    embed(job)
    request = SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), k=3)
    exact = run_search(replace(request, unpack=True)).found
    copy = job.output / "_search" / "unpacked" / "embeddings.npy"
    whole = copy.read_bytes()
    rows = np.load(copy)
    if damage == "cut off":
        copy.write_bytes(whole[:-8])
    elif damage == "header":
        copy.write_bytes(whole.replace(b"'fortran_order': F", b"'fortran_order':(F"))
    else:
        changed = {"narrower": rows[:, 1:], "fewer rows": rows[1:], "another type": rows.astype(np.float64)}
        np.save(copy, changed[damage])
    assert run_search(request).found == exact
    assert copy.read_bytes() != whole
    assert run_search(replace(request, unpack=True)).found == exact
    assert copy.read_bytes() == whole


def test_parts_that_are_npy_already_are_not_copied(job: EmbedRequest, tmp_path: Path) -> None:
    embed(replace(job, writing=OutputChoice(format="npy")))
    request = SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), k=3, unpack=True)
    assert run_search(request).found == run_search(replace(request, unpack=False)).found
    assert not (job.output / "_search").exists()


@pytest.mark.parametrize("kept", ["unpack", "index"])
def test_overwriting_a_job_removes_its_copy_and_its_index(job: EmbedRequest, tmp_path: Path, kept: str) -> None:
    if kept == "index":
        pytest.importorskip("faiss", reason="faiss is not installed: pip install 'export-ssl[search]'")
    embed(job)
    wanted: dict[str, Any] = {kept: True}
    run_search(SearchRequest(job.output, (write_picture(tmp_path / "query.png"),), **wanted))
    assert (job.output / "_search").exists()
    embed(replace(job, overwrite=True))
    assert not (job.output / "_search").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(
    job: EmbedRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(job)
    query = write_picture(tmp_path / "query.png")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(BundleError, match=r"cannot write .*/_search/unpacked: the disk is full"):
        run_search(SearchRequest(job.output, (query,), unpack=True))
    assert list((job.output / "_search").iterdir()) == []
