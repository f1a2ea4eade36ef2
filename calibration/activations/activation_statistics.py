"""What is kept of a tensor's activations: exact extremes, and histograms of a sample.

1. `low` and `high` are over all values, per channel. Of a tensor that cannot be negative no minimum is
   taken: it is 0, or above it.
2. The histograms are of a sample, the same positions of every image (`calibration/activations/collect.py`). An extreme
   is one value, which a sample would miss; a histogram is a proportion, which it does not.
3. There is one histogram per channel, `CHANNEL_BINS` wide, and two per tensor, `TENSOR_BINS` wide: of the
   images at even and at odd positions. Their sum is the tensor's; that the two halves lead to the same
   threshold is what says that more images would not move it.
4. Nothing depends on how the images came in batches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibration.activations.histogram import Counts, Histograms
from runtime.bundle.calibration_json import Convergence
from runtime.support.arrays import Floats

# The tensor's largest magnitude falls into the upper half, so 2,049 to 4,096 bins are in use: the 2,048 of
# TensorRT's entropy rule, or more.
TENSOR_BINS = 4096
# Of a channel only a high quantile is wanted, to 1 or 2 per cent.
CHANNEL_BINS = 128


@dataclass(frozen=True)
class TensorStatistics:
    """What one tensor did.

    Attributes:
        name: The tensor.
        images: Images seen.
        low: Smallest value per channel, (C,) float32.
        high: Largest value per channel, (C,) float32.
        halves: Histograms of magnitudes of the images at even and odd positions, one common width,
            counts (2, TENSOR_BINS).
        channels: Histograms of each channel's magnitudes, counts (C, CHANNEL_BINS).
    """

    name: str
    images: int
    low: Floats
    high: Floats
    halves: Histograms
    channels: Histograms

    @property
    def channel_amax(self) -> Floats:
        """Largest magnitude per channel, (C,) float32."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def amax(self) -> float:
        """Largest magnitude."""
        return float(self.channel_amax.max())

    @property
    def counts(self) -> Counts:
        """Histogram of all magnitudes, (TENSOR_BINS,)."""
        total: Counts = self.halves.counts.sum(axis=0)
        return total

    @property
    def width(self) -> float:
        """Width of a bin of `counts`."""
        return float(self.halves.widths[0])


class Accumulator:
    """The statistics of one tensor while images come in."""

    def __init__(self, name: str, channels: int) -> None:
        self._name = name
        self._images = 0
        self._low = np.full(channels, np.inf, np.float32)
        self._high = np.full(channels, -np.inf, np.float32)
        self._halves = Histograms.empty(2, TENSOR_BINS)
        self._channels = Histograms.empty(channels, CHANNEL_BINS)
        self._rows = np.arange(channels)[None, :, None]

    def add(self, low: Floats, high: Floats, sample: Floats) -> None:
        """Take in a batch.

        Args:
            low: Smallest value of each image and channel, (N, C) float32.
            high: Largest value, likewise.
            sample: Some values of each image and channel, (N, C, S) float32; overwritten.
        """
        self._low = np.minimum(self._low, low.min(axis=0))
        self._high = np.maximum(self._high, high.max(axis=0))
        amax = np.maximum(np.abs(self._low), np.abs(self._high))
        self._channels.make_room(amax)
        self._halves.make_room(np.full(2, amax.max(), np.float32))
        magnitudes = np.abs(sample, out=sample)
        self._channels.add(magnitudes, self._rows)
        parity = (self._images + np.arange(len(sample))) % 2
        self._halves.add(magnitudes, parity[:, None, None])
        self._images += len(sample)

    def finish(self) -> TensorStatistics:
        """Return the statistics of everything taken in."""
        return TensorStatistics(self._name, self._images, self._low, self._high, self._halves, self._channels)


def channel_ranges(statistics: TensorStatistics, share: float) -> npt.NDArray[np.float64]:
    """Return the magnitude that `share` of each channel's sampled values stay below, (C,) float64.

    Never above the channel's exact largest magnitude; that itself for a channel of which nothing was sampled.
    """
    counts = statistics.channels.counts
    cumulative = counts.cumsum(axis=1)
    wanted = share * cumulative[:, -1]
    bins = (cumulative < wanted[:, None]).sum(axis=1)
    at = np.minimum(bins, counts.shape[1] - 1)
    rows = np.arange(len(counts))
    before = cumulative[rows, at] - counts[rows, at]
    inside = (wanted - before) / np.maximum(counts[rows, at], 1)
    exact = statistics.channel_amax.astype(np.float64)
    found = np.minimum((at + inside) * statistics.channels.widths, exact)
    ranges: npt.NDArray[np.float64] = np.where(cumulative[:, -1] > 0, found, exact)
    return ranges


def compare_halves(thresholds: Mapping[str, tuple[float, float]]) -> Convergence:
    """Return how far two halves of the images lead to other thresholds.

    Args:
        thresholds: Tensor name to its clipping threshold from either half, both > 0.
    """
    changes = {name: abs(a - b) / max(a, b) for name, (a, b) in thresholds.items()}
    worst = max(changes, key=changes.__getitem__)
    median = float(np.median(list(changes.values())))
    return Convergence(median=median, worst=changes[worst], worst_tensor=worst)
