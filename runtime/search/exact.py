"""The k nearest of any number of embeddings, block by block: exactly those that float64 would find.

1. Under `cosine` the distance is 1 - cos, under `euclidean` the length of the difference. Of equal distances the
   earlier row comes first. Under `cosine` an embedding of length 0 has no direction and is not found.
2. A product in float32 says of each row how near it is, within a bound. Only rows that may be among the k nearest are
   measured in float64, from differences, which do not cancel.
3. The bound is that of any order of summation, so that it holds for every BLAS.

Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 3.1: |fl(x.y) - x.y| <= g(n) |x|.|y|,
with g(n) = n u / (1 - n u) and u = 2^-24 in float32.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from runtime.bundle.results.neighbours_json import Metric
from runtime.neighbours.nearest import lengths, pair_distances
from runtime.support.arrays import AnyFloats, Doubles, Floats, Ints

_Made = TypeVar("_Made")
# Half of float32's distance from 1 to the next number.
_ROUNDING = 2.0**-24
# So few rows stay in the processor's cache between both sums, and with one query in the calling thread: for larger
# products OpenBLAS wakes threads of its own, beside those that work here, and they wait for each other.
_STEP_ROWS = 128


@dataclass(frozen=True)
class Nearest:
    """What was found for one query, the nearest first.

    Attributes:
        rows: Numbers of the rows, (found,) int64.
        distances: Distances to them, (found,) float64.
    """

    rows: Ints
    distances: Doubles


class Blocks(Protocol):
    """Rows that come block by block."""

    def mapped(self, work: Callable[[AnyFloats], _Made]) -> Iterator[tuple[int, _Made]]:
        """Yield in order the number of the first row of a block, and what `work` makes of it, in any thread."""
        ...


def search_exactly(rows: Blocks, queries: AnyFloats, *, k: int, metric: Metric) -> list[Nearest]:
    """Return the k nearest rows of each query.

    Args:
        rows: The embeddings, finite.
        queries: Embeddings that are searched for, (Q, D), finite; under `cosine` none of length 0.
        k: How many are found of each, at least 1.
        metric: `cosine` or `euclidean`.
    """
    search = ExactSearch(queries, k=k, metric=metric)
    for first, estimated in rows.mapped(search.estimate):
        search.add(first, estimated)
    return search.result()


class Estimated(NamedTuple):
    """A block, and what float32 says of it; rule 2.

    Attributes:
        block: Embeddings, (N, D).
        squares: Squared lengths, (N,).
        products: Products with the queries, (N, Q); with their directions under `cosine`.
    """

    block: AnyFloats
    squares: Doubles
    products: Doubles


class ExactSearch:
    """Takes the gallery block by block, and keeps the k nearest rows of each query; rules 1 to 3."""

    def __init__(self, queries: AnyFloats, *, k: int, metric: Metric) -> None:
        """Begin a search.

        Args:
            queries: Embeddings that are searched for, (Q, D), finite; under `cosine` none of length 0.
            k: How many are kept of each, at least 1.
            metric: `cosine` or `euclidean`.
        """
        self._queries, self._k, self._metric = queries.astype(np.float64), k, metric
        self._lengths = lengths(queries)
        directions = self._queries / self._lengths[:, np.newaxis] if metric == "cosine" else self._queries
        self._narrow: Floats = directions.astype(np.float32)
        self._rows = [np.empty(0, np.int64) for _ in queries]
        self._distances = [np.empty(0, np.float64) for _ in queries]
        # Four more operations: the queries' rounding, a root, a division, a sum.
        terms = (queries.shape[1] + 4) * _ROUNDING
        self._bound = terms / (1 - terms)

    def estimate(self, block: AnyFloats) -> Estimated:
        """Return what `add` needs of a block, (N, D), finite; in any thread."""
        squares = np.empty(len(block), np.float64)
        products = np.empty((len(block), len(self._narrow)), np.float64)
        for start in range(0, len(block), _STEP_ROWS):
            here = slice(start, start + _STEP_ROWS)
            wide: Floats = block[here].astype(np.float32, copy=False)
            squares[here] = np.einsum("nd,nd->n", wide, wide)
            products[here] = wide @ self._narrow.T
        return Estimated(block, squares, products)

    def add(self, first: int, estimated: Estimated) -> None:
        """Take some rows.

        Args:
            first: Number of the first of them.
            estimated: The rows.
        """
        block, squares, products = estimated
        for index in range(len(self._queries)):
            far, slack = self._bounds(squares, products[:, index], self._lengths[index])
            self._merge(index, self._candidates(index, far, slack), first, block)

    def result(self) -> list[Nearest]:
        """Return what was found for each query among all rows so far."""
        return [Nearest(*found) for found in zip(self._rows, self._distances, strict=True)]

    def _bounds(self, squares: Doubles, products: Doubles, length: float) -> tuple[Doubles, Doubles]:
        """Return squared distances, of unit vectors under `cosine`, and how far each may be off; rule 2."""
        if self._metric == "euclidean":
            reach = np.sqrt(squares) + length
            return squares + length**2 - 2 * products, 2 * self._bound * np.square(reach)
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = np.where(squares > 0, products / np.sqrt(squares), -np.inf)
        return 2 - 2 * cosines, np.full(len(squares), 4 * self._bound)

    def _candidates(self, index: int, far: Doubles, slack: Doubles) -> Ints:
        """Return the rows of a block that may be among the k nearest."""
        limit = np.inf
        if len(self._rows[index]) == self._k:
            limit = self._squared(self._distances[index][-1])
        if len(far) >= self._k:
            limit = min(limit, np.partition(far + slack, self._k - 1)[self._k - 1])
        return np.flatnonzero((far - slack <= limit) & (far < np.inf))

    def _squared(self, distance: float) -> float:
        """Return a distance as `_bounds` gives it, a little larger for its own rounding."""
        return (2 * distance if self._metric == "cosine" else distance**2) * (1 + 2.0**-40)

    def _merge(self, index: int, candidates: Ints, first: int, block: AnyFloats) -> None:
        """Measure some rows of a block, and keep the k nearest."""
        if not candidates.size:
            return
        pairs = np.arange(len(candidates))[np.newaxis]
        found = pair_distances(self._queries[index : index + 1], block[candidates], pairs, metric=self._metric)[0]
        if self._metric == "cosine":
            # From the difference d of unit vectors: 1 - cos = d^2 / 2.
            found = np.square(found) / 2
        rows = np.concatenate([self._rows[index], first + candidates])
        distances = np.concatenate([self._distances[index], found])
        order = np.lexsort((rows, distances))[: self._k]
        self._rows[index], self._distances[index] = rows[order], distances[order]
