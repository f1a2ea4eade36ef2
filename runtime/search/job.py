"""A whole search: open the output and its bundle, embed the queries, find the nearest rows and what they are called."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.bundle import Bundle
from runtime.bundle.results.neighbours_json import Metric
from runtime.search.exact import Nearest, search_exactly
from runtime.search.faiss_index import IndexRecord, open_index
from runtime.search.gallery import Gallery, open_gallery
from runtime.search.parts import Row
from runtime.search.query import embed_queries, engine_notes, open_bundle_of, open_engine_of
from runtime.search.request import SearchRequest
from runtime.search.unpacked import find_unpacked, unpack


@dataclass(frozen=True)
class Neighbour:
    """A row that was found.

    Attributes:
        row: What is written of its image.
        distance: Distance to the query: 1 - cos, or in the unit of the embeddings.
    """

    row: Row
    distance: float


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        gallery: Rows that were searched.
        bundle: The bundle that made rows and queries.
        metric: The distance.
        found: Neighbours of each query, the nearest first.
        notes: What throws doubt on the distances, in sentences.
        seconds: Time from the queries' embeddings to the neighbours.
        index: What is known of the index that was searched; None where all rows were compared.
    """

    gallery: Gallery
    bundle: Bundle
    metric: Metric
    found: dict[Path, tuple[Neighbour, ...]]
    notes: tuple[str, ...]
    seconds: float
    index: IndexRecord | None


def run_search(request: SearchRequest, on_stage: Callable[[str], None] = lambda _stage: None) -> SearchResult:
    """Find the images of an output that are nearest to each query.

    Args:
        request: The search.
        on_stage: Called with what is being done, in words.

    Raises:
        ExportSslError: Anything that stops it, in one line.
    """
    gallery = open_gallery(request.output)
    on_stage("open the bundle")
    bundle = open_bundle_of(request, gallery.job)
    on_stage("embed the query")
    with open_engine_of(request, gallery.job, bundle) as engine:
        notes = engine_notes(gallery.job, engine)
        queries = embed_queries(request.queries, job=gallery.job, bundle=bundle, engine=engine, metric=request.metric)
    index = open_index(gallery, request.metric, on_stage) if request.index else None
    unpacked = unpack(gallery, on_stage) if request.unpack else find_unpacked(gallery)
    on_stage(f"search {gallery.rows:,} rows")
    began = time.perf_counter()
    if index is None:
        nearest = search_exactly(unpacked or gallery, queries, k=request.k, metric=request.metric)
    else:
        nearest = index.search(queries, k=request.k)
    found = {query: _describe(gallery, one) for query, one in zip(request.queries, nearest, strict=True)}
    seconds = time.perf_counter() - began
    return SearchResult(
        gallery, bundle, request.metric, found, notes, seconds, index.record if index is not None else None
    )


def _describe(gallery: Gallery, nearest: Nearest) -> tuple[Neighbour, ...]:
    rows = gallery.described(nearest.rows.tolist())
    return tuple(Neighbour(row, far) for row, far in zip(rows, nearest.distances.tolist(), strict=True))
