"""An index of faiss finds nearly what the exact search finds, with exact distances; it is kept, and made anew."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from runtime.embed.request import EmbedRequest
from runtime.errors import BundleError
from runtime.search import faiss_index
from runtime.search.gallery import Gallery, open_gallery
from runtime.search.job import run_search
from runtime.search.request import SearchRequest
from tests.helpers.embed_jobs import embed, searchable_job
from tests.helpers.image_folders import write_picture

pytest.importorskip("faiss", reason="faiss is not installed: pip install 'export-ssl[search]'")
ROWS, K = 600, 10


def clustered(seed: int = 0) -> np.ndarray:
    """Embeddings of 40 kinds of images, (ROWS, 4)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, 4))
    return (centres[rng.integers(0, 40, ROWS)] + 0.1 * rng.standard_normal((ROWS, 4))).astype(np.float32)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbedRequest:
    return searchable_job(tmp_path, monkeypatch, range(40), part_images=16)


class Drawn(Gallery):
    """An output whose embeddings are drawn instead of read."""

    def mapped(self, work: Any) -> Any:
        for first in range(0, ROWS, 64):
            yield first, work(clustered()[first : first + 64])

    def embeddings(self, rows: Any) -> Any:
        return clustered()[rows]


def drawn(job: EmbedRequest) -> Drawn:
    embed(job)
    gallery = open_gallery(job.output)
    return Drawn(gallery.output, gallery.job, (0, ROWS))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nearly_all_of_the_nearest_are_found_with_exact_distances(
    job: EmbedRequest, metric: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A block of 64 rows is 512 bytes in float16: ten shards. The sample is 128 rows in two lists.
    monkeypatch.setattr(faiss_index, "_MEMORY_BYTES", 512 * 4)
    index = faiss_index.open_index(drawn(job), metric, lambda _stage: None)
    queries = clustered(seed=1)[:50]
    judge = NearestNeighbors(n_neighbors=K, metric=metric, algorithm="brute").fit(clustered().astype(np.float64))
    far, wanted = judge.kneighbors(queries.astype(np.float64))
    kept = []
    for one, rows, distances in zip(index.search(queries, k=K), wanted, far, strict=True):
        assert len(one.rows) == K
        kept.append(len({*one.rows.tolist()} & {*rows.tolist()}) / K)
        same = dict(zip(rows.tolist(), distances.tolist(), strict=True))
        for row, distance in zip(one.rows.tolist(), one.distances.tolist(), strict=True):
            assert distance == pytest.approx(same.get(row, distance), abs=1e-12)
        assert one.distances.tolist() == sorted(one.distances.tolist())
    assert np.mean(kept) >= 0.9
    assert index.record.recall_at_10 >= 0.95
    assert (index.record.rows, index.record.asked) == (ROWS, 100)


def test_the_index_is_made_once_kept_and_made_anew_for_another_job(job: EmbedRequest, tmp_path: Path) -> None:
    embed(job)
    query = write_picture(tmp_path / "query.png", 7)
    stages: list[str] = []
    request = SearchRequest(job.output, (query,), k=3, index=True)
    first = run_search(request, stages.append)
    assert "make an index of 40 rows" in stages
    # 40 rows are one list: all that keeps it from being exact is float16.
    exact = run_search(replace(request, index=False))
    assert first.found == exact.found
    assert first.index.recall_at_10 >= 0.95
    stages.clear()
    moved = replace(request, output=job.output.rename(tmp_path / "moved"))
    assert run_search(moved, stages.append).found == exact.found
    assert not any(stage.startswith("make an index") for stage in stages)
    described = json.loads((moved.output / "_job.json").read_text())
    (moved.output / "_job.json").write_text(json.dumps({**described, "tool": "another"}))
    run_search(moved, stages.append)
    assert "make an index of 40 rows" in stages
    assert sorted(file.name for file in (moved.output / "_search").rglob("*")) == [
        "cosine",
        "index.json",
        "shard-000000.faiss",
    ]


def test_a_failure_of_faiss_is_one_line_and_leaves_nothing(
    job: EmbedRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faiss

    def fail(*_arguments: object) -> None:
        raise RuntimeError("Error in void faiss::write_index\n  no room")

    embed(job)
    monkeypatch.setattr(faiss, "write_index", fail)
    with pytest.raises(BundleError, match=r"faiss cannot write .*/_search/cosine \(Error in .* no room\): free some"):
        run_search(SearchRequest(job.output, (write_picture(tmp_path / "query.png"),), index=True))
    assert list((job.output / "_search").iterdir()) == []


def _renumber(file: Path) -> None:
    """Write an index of the same rows under numbers that the output does not have."""
    import faiss

    index = faiss.read_index(str(file))
    rows = index.ntotal
    index.reset()
    index.add_with_ids(np.ones((rows, index.d), np.float32), np.arange(rows) + ROWS)
    faiss.write_index(index, str(file))


def test_an_index_that_was_cut_off_is_made_anew(job: EmbedRequest, tmp_path: Path) -> None:
    embed(job)
    request = SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), k=3, index=True)
    found = run_search(request).found
    (shard,) = (job.output / "_search" / "cosine").glob("shard-*.faiss")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-16])
    stages: list[str] = []
    assert run_search(request, stages.append).found == found
    assert "make an index of 40 rows" in stages
    assert shard.stat().st_size == len(whole)


def test_an_index_with_rows_that_are_not_there_is_refused(job: EmbedRequest, tmp_path: Path) -> None:
    embed(job)
    request = SearchRequest(job.output, (write_picture(tmp_path / "query.png", 7),), k=3, index=True)
    run_search(request)
    _renumber(next((job.output / "_search" / "cosine").glob("shard-*.faiss")))
    with pytest.raises(BundleError, match=r"_search/cosine names row 6\d\d of 40, which is not there: remove"):
        run_search(request)
