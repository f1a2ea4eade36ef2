"""The classes that embeddings' nearest neighbours vote for: how a backbone is judged that has no classifier.

1. Embeddings are divided by their length. The neighbours of a query are the `NEIGHBOURS` images of the gallery with
   the largest cosine, or all where the gallery has fewer.
2. Each neighbour votes for its class with the weight exp(cosine / `TEMPERATURE`); a class's score is the sum.
3. An image of the gallery is never its own neighbour: where queries and gallery are the same images, each is searched
   for among the others.
4. A query with NaN or infinity has NaN for scores, and decides nothing; such an image of the gallery is nobody's
   neighbour. An embedding of length 0 has the cosine 0 with all others.

Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers" (DINO), arXiv 2104.14294, with
`eval_knn.py` of its repository; k = 20 is what it reports. Weights and temperature: Wu et al. 2018, "Unsupervised
Feature Learning via Non-Parametric Instance Discrimination", arXiv 1805.01978, section 3.4.
"""

from dataclasses import dataclass

import numpy as np

from runtime.neighbours.nearest import lengths
from runtime.support.arrays import AnyFloats, Doubles, Flags, Floats, Ints

NEIGHBOURS = 20
TEMPERATURE = 0.07
# Of the largest temporary array; two or three of that size exist at a time.
_BLOCK_BYTES = 1 << 26  # 64 MiB


@dataclass(frozen=True)
class Gallery:
    """Images that are searched among, with their classes.

    Attributes:
        units: Embeddings of length 1, (M, D) float32; zeros where `broken`.
        broken: Which embeddings hold NaN or infinity, (M,) bool.
        labels: Class indices, (M,) int64.
    """

    units: Floats
    broken: Flags
    labels: Ints

    @classmethod
    def of(cls, embeddings: AnyFloats, labels: Ints) -> "Gallery":
        """Return the gallery of some embeddings, (M, D), M >= 1, and their class indices, (M,) int64."""
        units, broken = _units(embeddings)
        return cls(units, broken, labels)

    def scores(self, queries: AnyFloats, *, classes: int, own: Ints | None = None) -> Doubles:
        """Return the score of each class for each query, (N, classes) float64; rules 1 to 4.

        Args:
            queries: Embeddings, (N, D).
            classes: Number of classes, more than the largest label.
            own: Position of each query in the gallery, (N,) int64, where it is one of its images; the gallery then
                has two images or more.
        """
        others = len(self.units) - (own is not None)
        assert others >= 1, f"a gallery of {len(self.units)} images"
        units, broken = _units(queries)
        scores = np.zeros((len(queries), classes))
        rows = max(1, _BLOCK_BYTES // (4 * len(self.units)))
        for start in range(0, len(queries), rows):
            here = slice(start, start + rows)
            cosines = units[here] @ self.units.T
            cosines[:, self.broken] = -np.inf
            if own is not None:
                cosines[np.arange(len(cosines)), own[here]] = -np.inf
            k = min(NEIGHBOURS, others)
            found = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            weights = np.exp(np.take_along_axis(cosines, found, axis=1).astype(np.float64) / TEMPERATURE)
            np.add.at(scores[here], (np.arange(len(found))[:, np.newaxis], self.labels[found]), weights)
        scores[broken] = np.nan
        return scores


def _units(embeddings: AnyFloats) -> tuple[Floats, Flags]:
    """Return the embeddings divided by their lengths, (N, D) float32, and which of them are broken, (N,) bool."""
    broken: Flags = np.logical_not(np.isfinite(embeddings).all(axis=1))
    finite = np.where(broken[:, np.newaxis], np.float32(0), embeddings)
    norms = lengths(finite)[:, np.newaxis]
    return (finite / np.where(norms > 0, norms, 1)).astype(np.float32), broken
