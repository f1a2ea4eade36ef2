"""An exact search finds what SciPy's distances in float64 order, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from runtime.search.exact import ExactSearch, Nearest

METRICS = ("cosine", "euclidean")
# SciPy takes 1 - cos by subtraction: it is off by a few roundings of 1.
CLOSE = 1e-14


def found(queries: np.ndarray, gallery: np.ndarray, *, k: int, metric: str, block: int) -> list[Nearest]:
    search = ExactSearch(queries, k=k, metric=metric)  # type: ignore[arg-type]
    for first in range(0, len(gallery), block):
        search.add(first, search.estimate(gallery[first : first + block]))
    return search.result()


def drawn(rows: int, dim: int, *, seed: int, spread: float = 1.0) -> np.ndarray:
    """Embeddings of one direction with some noise: the narrower the spread, the nearer float32 comes to ties."""
    rng = np.random.default_rng(seed)
    return (rng.random(dim) + spread * rng.standard_normal((rows, dim))).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_nearest_are_those_of_float64_even_where_float32_cannot_tell_them_apart(metric, block, spread, dtype):
    gallery = drawn(500, 96, seed=1, spread=spread).astype(dtype)
    queries = drawn(3, 96, seed=2, spread=spread).astype(dtype)
    result = found(queries, gallery, k=10, metric=metric, block=block)
    wanted = cdist(queries.astype(np.float64), gallery.astype(np.float64), metric)
    for one, far in zip(result, wanted, strict=True):
        np.testing.assert_allclose(one.distances, np.sort(far)[:10], rtol=1e-7, atol=CLOSE)
        # Rows by their own distances: float16 has true ties, which SciPy's roundings order at random.
        np.testing.assert_allclose(far[one.rows], one.distances, rtol=1e-7, atol=CLOSE)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40), dim=st.integers(1, 8), k=st.integers(1, 12), block=st.integers(1, 45), seed=st.integers(0)
)
def test_whole_numbers_are_found_in_the_order_of_their_distances_and_rows(rows, dim, k, block, seed):
    # Their squared distances are exact in every precision, and many are equal.
    rng = np.random.default_rng(seed)
    gallery = rng.integers(-3, 4, (rows, dim)).astype(np.float32)
    query = rng.integers(-3, 4, (1, dim)).astype(np.float32)
    (result,) = found(query, gallery, k=k, metric="euclidean", block=block)
    squares = [int(sum((a - b) ** 2 for a, b in zip(row, query[0], strict=True))) for row in gallery.tolist()]
    wanted = sorted(range(rows), key=lambda row: (squares[row], row))[:k]
    assert result.rows.tolist() == wanted
    np.testing.assert_allclose(result.distances, np.sqrt([squares[row] for row in wanted]), rtol=1e-15)


def test_an_embedding_without_a_direction_is_not_found_by_its_cosine():
    gallery = np.array([[0, 0], [1, 1], [0, 0], [-1, 0]], np.float32)
    (result,) = found(np.array([[2, 2]], np.float32), gallery, k=4, metric="cosine", block=2)
    assert result.rows.tolist() == [1, 3]
    # cos 135 degrees is -1 / sqrt(2).
    np.testing.assert_allclose(result.distances, [0, 1 + np.sqrt(0.5)], atol=1e-15)


def test_lengths_do_not_count_for_the_cosine_and_do_for_the_difference():
    gallery = np.array([[10, 1], [1, 0.2]], np.float32)
    query = np.array([[1, 0.1]], np.float32)
    assert found(query, gallery, k=1, metric="cosine", block=9)[0].rows.tolist() == [0]
    assert found(query, gallery, k=1, metric="euclidean", block=9)[0].rows.tolist() == [1]
