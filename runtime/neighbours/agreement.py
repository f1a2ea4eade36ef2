"""Whether a search over a bundle's embeddings finds the neighbours that PyTorch's embeddings have.

Two questions, each against queries and index that are both PyTorch's:

- `renewed`: queries and index both come from the bundle; the index is made anew.
- `kept`: the bundle's queries are searched in the index that PyTorch made.

1. Recall@k of a query is the share of the k images found that are right; the recall is the mean over all
   queries. Every image is a query once, and searches among all other ones (`runtime/neighbours/nearest.py`).
2. An image found is right if the *reference* distance from the query to it is at most the reference's k-th
   distance. Without ties these are the reference's k nearest; with ties, as among copies of one image, any of
   the equals is right, since which of them comes k-th is arbitrary.
3. "At most" allows for float rounding: `_TIE` of the lengths of the two embeddings together (of unit vectors
   under `cosine`). Nothing else is forgiven: a near-tie that is lost counts as lost, and rules 4 to 7 explain it.
   Source: ann-benchmarks judges so too, by the true distance of what was found against the true k-th one, plus
   an epsilon of 1e-3 (ann_benchmarks/plotting/metrics.py, `knn_threshold`); ours is rounding alone.
4. A first neighbour is lost if the first image found is wrong by rule 2 with k = 1. By how much: the reference
   distance of what was found over that of the true one, less 1.
   Source: Gionis, Indyk, Motwani, VLDB 1999, section 4, the "effective error" of a query.
5. The step of the sample is the median, over the queries, of the second neighbour's reference distance over the
   first's, less 1: what usually separates two neighbours here. A lost first neighbour is a near-tie if what was
   found is farther by less than that.
6. The noise is how far the bundle moves distances between neighbours: bundle's distance over reference's, of all
   queries and their nearest images, divided by the median (a common scale moves no neighbour); of these the
   interquartile range over 1.349, which for a normal distribution is one standard deviation. A few images that are
   far off do not enter it.
7. Copies, whose reference distance is within rounding of 0, have no ratio: rules 5 and 6 leave them out, and a
   copy that is lost counts as no near-tie.
8. Chance is the recall of images drawn blindly: k / (N - 1). Unrelated embeddings reach it, or a little more in an
   index that is kept under `euclidean`, where images near the middle are near every query.
"""

from dataclasses import dataclass

import numpy as np

from runtime.bundle.results.neighbours_json import Agreement, Metric, Recall, Search
from runtime.errors import UsageError, VerificationError
from runtime.neighbours.nearest import lengths, nearest_others, pair_distances
from runtime.neighbours.recall_interval import recall_ci95
from runtime.support.arrays import AnyFloats, Doubles, Ints

# Just above what embeddings of one image differ by between FP32 engines, a share of their length:
# docs/explanation/decisions.md.
_TIE = 2e-6
# Of a normal distribution, in standard deviations. Source: 2 * scipy.stats.norm.ppf(0.75).
_INTERQUARTILE_RANGE = 1.3489795003921634


@dataclass(frozen=True)
class _Truth:
    """The reference and its neighbours.

    Attributes:
        embeddings: (N, D).
        metric: Metric of all distances.
        scales: What rounding is a share of: each embedding's length, or 1 under `cosine`; (N,) float64.
        nearest: (N, depth) int64.
        distances: Distances of the neighbours, (N, depth) float64.
    """

    embeddings: AnyFloats
    metric: Metric
    scales: Doubles
    nearest: Ints
    distances: Doubles

    def rounding(self, pairs: Ints) -> Doubles:
        """Return what the distances from each image to `pairs` may differ by and still be equal; rule 3."""
        return _TIE * (self.scales[:, np.newaxis] + self.scales[pairs])

    def copied(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """Return which of the nearest images are copies; rule 7. (N, depth) bool."""
        copied: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = self.distances <= self.rounding(self.nearest)
        return copied


def neighbour_agreement(
    reference: AnyFloats, candidate: AnyFloats, *, ks: tuple[int, ...] = (1, 10), metric: Metric = "cosine"
) -> Agreement:
    """Return how far `candidate` finds the neighbours that `reference` has.

    Args:
        reference: PyTorch's embeddings, (N, D) float32.
        candidate: The bundle's embeddings of the same images in the same order, (N, D) float32.
        ks: Numbers of neighbours, each at least 1.
        metric: `cosine` or `euclidean`.

    Raises:
        UsageError: There are no more images than the largest k.
        VerificationError: The shapes differ, an embedding holds NaN or infinity, or under `cosine` has length 0.
    """
    depth = max(2, *ks)
    _check(reference, candidate, depth=depth, metric=metric)
    nearest = nearest_others(reference, reference, k=depth, metric=metric)
    truth = _Truth(
        embeddings=reference,
        metric=metric,
        scales=np.ones(len(reference)) if metric == "cosine" else lengths(reference),
        nearest=nearest,
        distances=pair_distances(reference, reference, nearest, metric=metric),
    )
    apart = ~truth.copied()[:, 0]
    steps = truth.distances[apart, 1] / truth.distances[apart, 0] - 1
    step = float(np.median(steps)) if steps.size else 0.0
    near = cosines(reference, candidate)
    return Agreement(
        images=len(reference),
        metric=metric,
        depth=depth,
        renewed=_search(truth, candidate, candidate, ks=ks, step=step),
        kept=_search(truth, candidate, reference, ks=ks, step=step),
        step=step,
        copies=int(np.count_nonzero(~apart)),
        cosine_mean=float(near.mean()),
        cosine_lowest=float(near.min()),
    )


def _check(reference: AnyFloats, candidate: AnyFloats, *, depth: int, metric: Metric) -> None:
    """Refuse what has no neighbours."""
    if reference.shape != candidate.shape:
        raise VerificationError(
            f"the bundle's embeddings are shaped {candidate.shape}, expected PyTorch's {reference.shape}: compare"
            " embeddings of the same images and network"
        )
    if len(reference) <= depth:
        raise UsageError(
            f"{len(reference)} images, expected at least {depth + 1} to ask for {depth} neighbours: give more images"
        )
    for whose, embeddings in (("PyTorch's", reference), ("the bundle's", candidate)):
        broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if broken.size:
            raise VerificationError(
                f"{whose} embeddings of {broken.size} of {len(embeddings)} images hold NaN or infinity, first of image"
                f" {broken[0]}: expected finite ones; run-ssl verify tells which engine"
            )
        empty = np.flatnonzero(lengths(embeddings) == 0)
        if metric == "cosine" and empty.size:
            raise VerificationError(
                f"{whose} embeddings of {empty.size} of {len(embeddings)} images have length 0, first of image"
                f" {empty[0]}: expected a direction, which the cosine needs; compare by euclidean distance"
            )


def _search(truth: _Truth, queries: AnyFloats, gallery: AnyFloats, *, ks: tuple[int, ...], step: float) -> Search:
    """Return what a search for `queries` in `gallery` makes of the reference's neighbours."""
    depth = truth.nearest.shape[1]
    found = nearest_others(queries, gallery, k=depth, metric=truth.metric)
    distances = pair_distances(truth.embeddings, truth.embeddings, found, metric=truth.metric)
    # What rounding added is taken off once, so that the rest compares exactly.
    least = distances - truth.rounding(found)
    recalls = tuple(_recall((least[:, :k] <= truth.distances[:, k - 1 : k]).mean(axis=1), k=k) for k in ks)
    first = truth.distances[:, 0]
    lost = least[:, 0] > first
    with np.errstate(divide="ignore"):
        farther = distances[lost, 0] / first[lost] - 1
    farther[truth.copied()[lost, 0]] = np.inf
    return Search(
        recalls=recalls,
        lost=int(np.count_nonzero(lost)),
        near_ties=int(np.count_nonzero(farther < step)),
        farther_median=_finite(np.median(farther)) if farther.size else 0.0,
        farther_most=_finite(farther.max()) if farther.size else 0.0,
        first_listed=float((least <= first[:, np.newaxis]).any(axis=1).mean()),
        noise=_noise(truth, pair_distances(queries, gallery, truth.nearest, metric=truth.metric)),
    )


def _recall(per_query: Doubles, *, k: int) -> Recall:
    return Recall(
        k=k, recall=float(per_query.mean()), ci95=recall_ci95(per_query, k=k), chance=k / (len(per_query) - 1)
    )


def _noise(truth: _Truth, moved: Doubles) -> float | None:
    """Return how far the distances to the reference's neighbours moved; rule 6."""
    apart = ~truth.copied()
    if not apart.any():
        return 0.0
    ratios = moved[apart] / truth.distances[apart]
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return float((high - low) / (_INTERQUARTILE_RANGE * middle)) if middle > 0 else None


def cosines(one: AnyFloats, other: AnyFloats) -> Doubles:
    """Return the cosine of each pair of rows, (N,) float64; of two zero vectors 1, of one and another vector 0."""
    products = np.einsum("nd,nd->n", one, other, dtype=np.float64)
    norms, others = lengths(one), lengths(other)
    defined = (norms > 0) & (others > 0)
    found = np.divide(products, norms * others, out=(norms == others).astype(np.float64), where=defined)
    clipped: Doubles = np.clip(found, -1.0, 1.0)
    return clipped


def _finite(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
