"""An index of faiss over an output, made once and kept in the output: approximate, on the disk, and measured.

    OUT/_search/cosine/shard-000000.faiss    some rows in float16, in lists, which are read where a search looks
    OUT/_search/cosine/index.json            of which job it is, and how much it finds

1. Rows are put into about sqrt(N) lists by their nearest centre; the centres come from a sample that is spread evenly,
   and are the same in all shards.
2. A search looks into the lists whose centres are nearest to the query. How many is chosen when the index is made: the
   fewest, of 8, 16, 32 and on, with which `_ENOUGH` of the 10 nearest of a sample of rows are found.
3. What is found is measured again with the embeddings of the parts: distances and their order are exact.
4. Memory is bounded whatever the number of rows: the sample, the shard that is being made, and the centres.

Source: faiss, `IndexIVFScalarQuantizer`; `IO_FLAG_MMAP` leaves the lists on the disk.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from runtime.bundle.results.neighbours_json import Metric
from runtime.errors import BundleError
from runtime.neighbours.nearest import lengths
from runtime.search.exact import ExactSearch, Nearest, search_exactly
from runtime.search.gallery import Gallery
from runtime.search.kept import KeptRecord, folder_of, job_hash, made_whole, read_record
from runtime.support.arrays import AnyFloats, Floats, Ints
from runtime.support.files import check_plain
from runtime.support.json_file import write_model

_RECORD = "index.json"
# faiss asks for 39 rows per list at least, and takes 256 at most (`ClusteringParameters`).
_TRAINED_PER_LIST = 64
# Of the sample that the centres come from, and of a shard.
_MEMORY_BYTES = 1 << 28  # 256 MiB
_FIRST_PROBES = 8
_ENOUGH = 0.95
_ASKED, _NEIGHBOURS = 100, 10


class IndexRecord(KeptRecord):
    """All of `index.json`.

    Attributes:
        faiss: Version of faiss that made it.
        lists: Number of lists.
        probes: Number of lists that a search looks into.
        recall_at_10: Share of the 10 nearest others that it finds, over some rows as queries.
        asked: How many rows were asked for.
    """

    faiss: str
    lists: int
    probes: int
    recall_at_10: float
    asked: int


@dataclass(frozen=True)
class FaissIndex:
    """An opened index.

    Attributes:
        gallery: Rows that it is of.
        metric: The distance.
        record: What is known of it.
        shards: faiss's own objects, each with some of the rows.
    """

    gallery: Gallery
    metric: Metric
    record: IndexRecord
    shards: tuple[Any, ...]

    def search(self, queries: AnyFloats, *, k: int) -> list[Nearest]:
        """Return about the k nearest rows of each query, with their exact distances; rules 2 and 3.

        Raises:
            BundleError: A part cannot be read, or the index is of other rows.
        """
        found = find_rows(self.shards, queries, k=k, metric=self.metric)
        return [self._measured(query, rows) for query, rows in zip(queries, found, strict=True)]

    def _measured(self, query: AnyFloats, rows: Ints) -> Nearest:
        ordered = np.sort(rows)
        if not ordered.size:
            return Nearest(ordered, np.empty(0))
        if ordered[-1] >= self.gallery.rows:
            folder = folder_of(self.gallery, self.metric)
            raise BundleError(
                f"{folder} names row {ordered[-1]} of {self.gallery.rows:,}, which is not there: remove the folder, "
                "and search again"
            )
        search = ExactSearch(query[np.newaxis], k=len(rows), metric=self.metric)
        search.add(0, search.estimate(self.gallery.embeddings(ordered.tolist())))
        (nearest,) = search.result()
        return Nearest(ordered[nearest.rows], nearest.distances)


def open_index(gallery: Gallery, metric: Metric, on_stage: Callable[[str], None]) -> FaissIndex:
    """Return the index of an output, which is made where there is none yet, one of other rows, or a damaged one.

    Raises:
        ModuleNotFoundError: faiss is not installed.
        BundleError: A part cannot be read, or the disk cannot take the index.
    """
    folder = folder_of(gallery, metric)
    record = read_record(folder / _RECORD, IndexRecord, gallery)
    shards = _open_shards(folder, record.probes) if record is not None else ()
    if record is None or not _are_of(gallery, shards):
        on_stage(f"make an index of {gallery.rows:,} rows")
        record = _make_index(gallery, metric, folder)
        shards = _open_shards(folder, record.probes)
    return FaissIndex(gallery, metric, record, shards)


def _are_of(gallery: Gallery, shards: Sequence[Any]) -> bool:
    """Return whether shards have as many rows as an output, and embeddings of its length."""
    dim = gallery.job.bundle.embedding_dim
    return all(shard.d == dim for shard in shards) and sum(shard.ntotal for shard in shards) == gallery.rows


def find_rows(shards: Sequence[Any], queries: AnyFloats, *, k: int, metric: Metric) -> list[Ints]:
    """Return the rows that shards find for each query, the nearest first: k of them, or fewer."""
    found = [shard.search(_as_stored(queries, metric), k) for shard in shards]
    near = np.concatenate([scores for scores, _ in found], axis=1)
    rows = np.concatenate([numbers for _, numbers in found], axis=1)
    # A larger inner product is nearer; where a shard has too few rows, faiss says -1.
    order = np.argsort(np.where(rows < 0, np.inf, -near if metric == "cosine" else near), axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)[:, :k]
    return [one[one >= 0] for one in ordered]


def _make_index(gallery: Gallery, metric: Metric, folder: Path) -> IndexRecord:
    """Make an index beside its place, and put it there when it is whole."""
    import faiss

    try:
        with made_whole(folder) as whole:
            trained = _train(gallery, metric)
            _fill(trained, gallery, metric, whole)
            record = IndexRecord(
                job_sha256=job_hash(gallery),
                rows=gallery.rows,
                faiss=faiss.__version__,
                lists=trained.nlist,
                **_measure(whole, trained.nlist, gallery, metric),
            )
            write_model(whole / _RECORD, record)
    except RuntimeError as error:
        # faiss's own, in several lines.
        raise BundleError(f"faiss cannot write {folder} ({' '.join(str(error).split())}): free some space") from error
    return record


def _train(gallery: Gallery, metric: Metric) -> Any:
    """Return an index without rows, whose centres are those of a sample; rule 1."""
    import faiss

    dim = gallery.job.bundle.embedding_dim
    wanted = min(gallery.rows, max(_MEMORY_BYTES // (4 * dim), _TRAINED_PER_LIST))
    lists = max(1, min(math.isqrt(gallery.rows), wanted // _TRAINED_PER_LIST))
    step = max(1, gallery.rows // min(wanted, lists * _TRAINED_PER_LIST))
    sample = [_as_stored(block[-first % step :: step], metric) for first, block in gallery.blocks()]
    kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    centres = faiss.IndexFlat(dim, kind)
    index = faiss.IndexIVFScalarQuantizer(centres, dim, lists, faiss.ScalarQuantizer.QT_fp16, kind)
    index.train(np.concatenate(sample))
    # Else the centres would be freed with this function's name for them.
    centres.this.disown()
    index.own_fields = True
    return index


def _fill(trained: Any, gallery: Gallery, metric: Metric, folder: Path) -> None:
    """Write all rows in shards; rule 4."""
    import faiss

    shard, written = faiss.clone_index(trained), 0
    for first, block in gallery.blocks():
        shard.add_with_ids(_as_stored(block, metric), np.arange(first, first + len(block)))
        if shard.ntotal * shard.code_size >= _MEMORY_BYTES:
            faiss.write_index(shard, str(_shard_file(folder, written)))
            shard.reset()
            written += 1
    if shard.ntotal:
        faiss.write_index(shard, str(_shard_file(folder, written)))


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}.faiss"


def _open_shards(folder: Path, probes: int) -> tuple[Any, ...]:
    """Return the shards, whose lists stay on the disk; none where faiss cannot read one."""
    import faiss

    files = sorted(folder.glob("shard-*.faiss"))
    for file in files:
        check_plain(file)
    try:
        shards = tuple(faiss.read_index(str(file), faiss.IO_FLAG_MMAP) for file in files)
        for shard in shards:
            shard.nprobe = probes
    # faiss's own errors.
    except RuntimeError:
        return ()
    return shards


class _Measured(TypedDict):
    probes: int
    recall_at_10: float
    asked: int


def _measure(folder: Path, lists: int, gallery: Gallery, metric: Metric) -> _Measured:
    """Return how many lists a search must look into, what it finds then, and of how many rows; rule 2.

    The rows asked for are spread evenly; under `cosine` those of length 0 are left out.
    """
    rows = np.linspace(0, gallery.rows - 1, min(_ASKED, gallery.rows)).astype(np.int64)
    queries = gallery.embeddings(rows.tolist())
    if metric == "cosine":
        rows, queries = rows[lengths(queries) > 0], queries[lengths(queries) > 0]
    k = _NEIGHBOURS + 1
    exact = search_exactly(gallery, queries, k=k, metric=metric)
    wanted = [{*one.rows.tolist()} - {row} for row, one in zip(rows.tolist(), exact, strict=True)]
    probes = min(_FIRST_PROBES, lists)
    while True:
        found = find_rows(_open_shards(folder, probes), queries, k=k, metric=metric)
        pairs = zip(found, wanted, strict=True)
        shares = [len({*one.tolist()} & others) / len(others) for one, others in pairs if others]
        # A gallery of one row has no others, and nothing to miss.
        recall = float(np.mean(shares)) if shares else 1.0
        if recall >= _ENOUGH or probes == lists:
            return _Measured(probes=probes, recall_at_10=recall, asked=len(rows))
        probes = min(2 * probes, lists)


def _as_stored(embeddings: AnyFloats, metric: Metric) -> Floats:
    """Return embeddings as the index compares them, (N, D) float32: of length 1 under `cosine`."""
    wide: Floats = np.ascontiguousarray(embeddings, np.float32)
    if metric == "euclidean":
        return wide
    norms = lengths(wide)[:, np.newaxis]
    stored: Floats = (wide / np.where(norms > 0, norms, 1)).astype(np.float32)
    return stored
