"""Exact nearest neighbours among the images of a sample, in NumPy, with bounded memory.

1. Under `euclidean` the distance is that of the embeddings; under `cosine` it is that of their unit vectors,
   sqrt(2 - 2 cos), which orders as the cosine does and, unlike 1 - cos, is a distance.
2. An image is never its own neighbour: row i of the queries and row i of the gallery are one image.
3. The k nearest are chosen by a matrix product in float64, block by block. Their distances are then taken from
   differences, which do not cancel, and order them; of equal ones the lower position comes first.
4. Which of several equally near images are chosen where not all fit among the k is not said: their products
   differ in the last bits. Who judges neighbours must allow for it; `runtime/neighbours/agreement.py` does.
"""

import numpy as np

from runtime.bundle.results.neighbours_json import Metric
from runtime.support.arrays import AnyFloats, Doubles, Ints

# Of the largest temporary array; two or three of that size exist at a time.
_BLOCK_BYTES = 1 << 26  # 64 MiB
# Gallery rows that are widened to float64 at a time.
_GALLERY_ROWS = 4096


def nearest_others(queries: AnyFloats, gallery: AnyFloats, *, k: int, metric: Metric) -> Ints:
    """Return the k nearest other images of each image, the nearest first; rules 1 to 4.

    Args:
        queries: Embeddings that are searched for, (N, D), finite.
        gallery: Embeddings that are searched among, (N, D), finite, of the same images in the same order.
        k: How many, 1 <= k < N.
        metric: `cosine` (no embedding of length 0) or `euclidean`.

    Returns:
        Positions, (N, k) int64.
    """
    images = len(gallery)
    assert len(queries) == images, f"{len(queries)} queries for {images} images"
    assert 1 <= k < images, f"{k} neighbours of {images} images"
    squares = np.square(lengths(gallery))
    found = np.empty((images, k), np.int64)
    rows = max(1, _BLOCK_BYTES // (8 * images))
    for start in range(0, images, rows):
        far = _order_within_row(queries[start : start + rows], gallery, squares=squares, metric=metric)
        here = np.arange(len(far))
        far[here, start + here] = np.inf
        found[start : start + rows] = np.argpartition(far, k - 1, axis=1)[:, :k]
    distances = pair_distances(queries, gallery, found, metric=metric)
    return np.take_along_axis(found, np.lexsort((found, distances), axis=1), axis=1)


def pair_distances(queries: AnyFloats, gallery: AnyFloats, pairs: Ints, *, metric: Metric) -> Doubles:
    """Return the distances from each query to its images of the gallery; rule 1.

    Args:
        queries: (N, D), finite.
        gallery: (M, D), finite.
        pairs: Positions in the gallery, (N, k).
        metric: `cosine` (no embedding of length 0) or `euclidean`.

    Returns:
        Distances, (N, k) float64, in the embeddings' unit, or 0 to 2 under `cosine`.
    """
    distances = np.empty(pairs.shape, np.float64)
    rows = max(1, _BLOCK_BYTES // (8 * pairs.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), rows):
        here = slice(start, start + rows)
        one, other = queries[here].astype(np.float64), gallery[pairs[here]].astype(np.float64)
        if metric == "cosine":
            one, other = one / lengths(one)[..., np.newaxis], other / lengths(other)[..., np.newaxis]
        distances[here] = lengths(one[:, np.newaxis] - other)
    return distances


def lengths(embeddings: AnyFloats) -> Doubles:
    """Return the Euclidean length of each embedding, summed in float64.

    Args:
        embeddings: (..., D), any float dtype.

    Returns:
        (...) float64.
    """
    squares: Doubles = np.einsum("...d,...d->...", embeddings, embeddings, dtype=np.float64)
    roots: Doubles = np.sqrt(squares)
    return roots


def _order_within_row(queries: AnyFloats, gallery: AnyFloats, *, squares: Doubles, metric: Metric) -> Doubles:
    """Return numbers that order each row as the distances do, (queries, gallery) float64.

    What is the same for a whole row is left out: the query's length.
    """
    wide = queries.astype(np.float64)
    products = np.empty((len(queries), len(gallery)), np.float64)
    for start in range(0, len(gallery), _GALLERY_ROWS):
        here = slice(start, start + _GALLERY_ROWS)
        np.matmul(wide, gallery[here].astype(np.float64).T, out=products[:, here])
    if metric == "cosine":
        products /= -np.sqrt(squares)
    else:
        products *= -2.0
        products += squares
    return products
