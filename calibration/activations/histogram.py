"""Histograms of magnitudes whose range grows while values come in, without a second look at any of them.

Rules:

1. A bin is 2**exponent wide, the first begins at 0. The exponent is the smallest with which the largest
   magnitude so far falls inside.
2. When a larger magnitude comes, the exponent rises and neighbouring bins are merged in pairs. A value's
   bin is floor(|x| / 2**exponent), and floor(floor(a) / 2) = floor(a / 2): merged counts are those that
   the wider bins would have had from the start.
3. So the counts depend on the values alone: not on their order, nor on how they came in batches.
   Multiplying by a power of two is exact, so there is no rounding in it either.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.support.arrays import Floats

Counts = npt.NDArray[np.int64]
Exponents = npt.NDArray[np.int32]

# Below it lie denormals and what is as good as zero; the first bin takes all of that.
LOWEST_EXPONENT = -100


@dataclass
class Histograms:
    """Rows of histograms, each with an exponent of its own.

    Attributes:
        counts: (R, bins) int64.
        exponents: (R,) int32; bin i of row r holds magnitudes in [i, i + 1) * 2**exponents[r].
    """

    counts: Counts
    exponents: Exponents

    @classmethod
    def empty(cls, rows: int, bins: int) -> "Histograms":
        """Return histograms of nothing; `bins` is a power of two."""
        assert bins & (bins - 1) == 0, bins
        return cls(np.zeros((rows, bins), np.int64), np.full(rows, LOWEST_EXPONENT, np.int32))

    @property
    def widths(self) -> npt.NDArray[np.float64]:
        """Width of each row's bins, (R,) float64."""
        return np.ldexp(1.0, self.exponents)

    def make_room(self, amax: Floats) -> None:
        """Widen the bins of every row until its largest magnitude falls inside; rule 2.

        Args:
            amax: Largest magnitude per row, (R,) float32, finite.
        """
        bins = self.counts.shape[1]
        # frexp: amax = mantissa * 2**exponent with mantissa < 1, so amax < 2**exponent.
        # Of zero it gives the exponent 0, but zero needs no room.
        needed = np.where(amax > 0, np.frexp(amax)[1] - (bins.bit_length() - 1), LOWEST_EXPONENT)
        raised = np.maximum(self.exponents, needed).astype(np.int32)
        shifts = raised - self.exponents
        for shift in np.unique(shifts[shifts > 0]):
            rows = shifts == shift
            kept = max(bins >> int(shift), 1)
            merged = self.counts[rows].reshape(-1, kept, bins // kept).sum(axis=2)
            self.counts[rows] = 0
            self.counts[rows, :kept] = merged
        self.exponents = raised

    def add(self, magnitudes: Floats, rows: npt.NDArray[np.integer]) -> None:
        """Count values.

        Args:
            magnitudes: Values >= 0 for which there is room, any shape, float32.
            rows: Row of each value, a shape that broadcasts to that of `magnitudes`.
        """
        count, bins = self.counts.shape
        per_unit = np.ldexp(np.float32(1), -self.exponents).astype(np.float32)
        indices = (magnitudes * per_unit[rows]).astype(np.int32)
        indices += (rows * bins).astype(np.int32)
        self.counts += np.bincount(indices.reshape(-1), minlength=count * bins).reshape(count, bins)
