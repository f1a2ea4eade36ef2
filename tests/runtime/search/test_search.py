"""A search finds a job's images by a picture, embedded as they were, in whatever parts they lie."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.embed.request import EmbedRequest, OutputChoice
from runtime.engines.contract import Outputs
from runtime.errors import BundleError, DataError
from runtime.search import parts
from runtime.search.gallery import open_gallery
from runtime.search.job import run_search
from runtime.search.request import SearchRequest
from tests.helpers.embed_jobs import SumEngine, embed, expected_embeddings, picture_folder, searchable_job
from tests.helpers.exported import copy_bundle
from tests.helpers.image_folders import write_picture

SEEDS = [0, 1, None, 3, 4, 5, 6, None, None, None, 10, 11, 12]
READABLE = [seed for seed in SEEDS if seed is not None]
# A batch of one, so that the gallery's numbers are those of the query: SumEngine adds up the whole batch.
BATCH = 1


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    """A job of 13 pictures in 7 parts, four of them broken."""
    return searchable_job(tmp_path, monkeypatch, SEEDS, part_images=2)


@pytest.fixture
def query(tmp_path: Path) -> Path:
    return write_picture(tmp_path / "query.png", 4)


def nearest_by_hand(seed: int, metric: str) -> list[tuple[str, float]]:
    """Return the keys of all readable pictures with their distances to one, the nearest first."""
    rows = expected_embeddings(SEEDS, BATCH).astype(np.float64)
    one = expected_embeddings([seed], BATCH)[0].astype(np.float64)
    if metric == "cosine":
        far = [1 - np.dot(row, one) / np.sqrt(np.dot(row, row) * np.dot(one, one)) for row in rows]
    else:
        far = [float(np.sqrt(np.sum((row - one) ** 2))) for row in rows]
    keys = [f"{index:04}.png" for index, seed in enumerate(SEEDS) if seed is not None]
    return sorted(zip(keys, far, strict=True), key=lambda pair: pair[1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("format_", ["parquet", "npy"])
def test_the_nearest_images_are_found_across_parts_with_their_distances(
    job: EmbedRequest, query: Path, metric: Any, format_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SLICE_ROWS", 1)
    embed(replace(job, writing=OutputChoice(format=format_)))
    result = run_search(SearchRequest(job.output, (query,), k=5, metric=metric))
    neighbours = result.found[query]
    wanted = nearest_by_hand(4, metric)[:5]
    assert [one.row.key for one in neighbours] == [key for key, _ in wanted]
    assert neighbours[0].row.key == "0004.png"
    assert neighbours[0].distance == 0
    np.testing.assert_allclose([one.distance for one in neighbours], [far for _, far in wanted], rtol=1e-6, atol=1e-14)
    folder = job.images[0]
    for one in neighbours:
        assert one.row.sha256 == hashlib.sha256((folder / one.row.key).read_bytes()).hexdigest()
    assert result.notes == ()


def test_as_many_are_found_as_there_are_and_several_queries_at_once(
    job: EmbedRequest, query: Path, tmp_path: Path
) -> None:
    embed(job)
    other = tmp_path / "other.png"
    write_picture(other, 11)
    result = run_search(SearchRequest(job.output, (query, other), k=50))
    assert [len(neighbours) for neighbours in result.found.values()] == [len(READABLE)] * 2
    for path, seed in ((query, 4), (other, 11)):
        assert [one.row.key for one in result.found[path]] == [key for key, _ in nearest_by_hand(seed, "cosine")]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_query_is_normalised_and_rounded_as_the_rows_are(job: EmbedRequest, query: Path, dtype: Any) -> None:
    embed(replace(job, writing=OutputChoice(dtype=dtype, normalise=True)))
    (first, *_) = run_search(SearchRequest(job.output, (query,), metric="euclidean")).found[query]
    assert (first.row.key, first.distance) == ("0004.png", 0)


def test_memory_holds_a_few_blocks_whatever_the_number_of_parts(
    job: EmbedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(replace(job, images=(picture_folder(job.output.with_name("many"), [0] * 60),)))
    monkeypatch.setattr("runtime.search.gallery.usable_cores", lambda: 2)
    opened: list[int] = []
    read = parts.RowGroup.embeddings

    def count(group: parts.RowGroup) -> Any:
        opened.append(group.group)
        return read(group)

    monkeypatch.setattr(parts.RowGroup, "embeddings", count)
    blocks = open_gallery(job.output).blocks()
    for taken, _ in enumerate(blocks, 1):
        # Two that are decoded and two that wait.
        assert len(opened) <= taken + 4
    assert taken == 30


def test_another_bundle_than_the_one_that_made_the_output_is_refused(
    job: EmbedRequest, query: Path, tmp_path: Path
) -> None:
    embed(job)
    other = copy_bundle(job.bundle, tmp_path / "other", edit=lambda manifest: manifest["model"].update(name="small"))
    with pytest.raises(BundleError, match=r"other \(small, fp32\) is not the bundle that made .*out \(tiny, fp32\)"):
        run_search(SearchRequest(job.output, (query,), bundle=other))


def test_a_bundle_that_has_moved_is_asked_for_and_taken_from_where_it_is(job: EmbedRequest, query: Path) -> None:
    embed(job)
    moved = job.bundle.rename(job.bundle.with_name("moved"))
    with pytest.raises(BundleError, match=r"bundle that made .*out \(tiny, fp32\) cannot be found, .*/bundle is not"):
        run_search(SearchRequest(job.output, (query,)))
    assert run_search(SearchRequest(job.output, (query,), bundle=moved)).found[query][0].row.key == "0004.png"
    (job.output / "_places.json").unlink()
    with pytest.raises(BundleError, match=r"cannot be found, where it is, no file says: pass it as --bundle"):
        run_search(SearchRequest(job.output, (query,)))


def test_an_output_that_is_not_finished_is_refused_with_how_far_it_is(job: EmbedRequest, query: Path) -> None:
    embed(job)
    (job.output / "_parts/part-000003.json").unlink()
    with pytest.raises(BundleError, match=r"out has 6 of 7 parts: run its `run-ssl embed` command again to finish it"):
        run_search(SearchRequest(job.output, (query,)))


def test_what_is_no_output_and_what_has_no_row_are_refused(job: EmbedRequest, query: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not the output of an embedding job"):
        run_search(SearchRequest(tmp_path, (query,)))
    embed(replace(job, images=(picture_folder(tmp_path / "broken", [None, None]),)))
    with pytest.raises(BundleError, match=r"out has no row to search among: none of its images could be read"):
        run_search(SearchRequest(job.output, (query,)))


@pytest.mark.parametrize("format_", ["parquet", "npy"])
def test_a_damaged_part_is_named(job: EmbedRequest, query: Path, format_: Any) -> None:
    embed(replace(job, writing=OutputChoice(format=format_)))
    part = job.output / "data" / f"part-000002.{format_}"
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(BundleError, match=rf"part-000002\.{format_} cannot be read \(.*\): remove its record in"):
        run_search(SearchRequest(job.output, (query,)))


def test_a_query_that_cannot_be_read_or_has_no_direction_is_refused(
    job: EmbedRequest, tmp_path: Path, query: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(job)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as an image"):
        run_search(SearchRequest(job.output, (tmp_path / "broken.jpg",)))
    nothing = Outputs(np.zeros((1, 3), np.float32), np.zeros((1, 4), np.float32))
    monkeypatch.setattr(SumEngine, "infer", lambda *_: nothing)
    with pytest.raises(DataError, match=r"query\.png: its embedding has length 0 and no direction; pass --metric eucl"):
        run_search(SearchRequest(job.output, (query,)))


def test_another_engine_than_the_jobs_is_said(job: EmbedRequest, query: Path) -> None:
    embed(job)
    described = json.loads((job.output / "_job.json").read_text())
    described["engine"] = {"name": "openvino", "version": "1.0", "executes": "int8"}
    (job.output / "_job.json").write_text(json.dumps(described))
    assert run_search(SearchRequest(job.output, (query,))).notes == (
        "The query was embedded by sums  (exact), the rows by openvino 1.0 (int8): distances hold the difference of "
        "the two.",
    )
