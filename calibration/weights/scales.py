"""Scales of weights, and rounding to the nearest level.

Weights are symmetric INT8 with one scale per output channel: real = int8 * scale.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import CalibrationError
from runtime.support.arrays import Doubles, Floats

LEVELS = 127
# Of an activation that is stored as UINT8 and cannot be negative.
UNSIGNED_LEVELS = 255
# -128 is left unused: with it the negative of a weight would not always exist, and NVIDIA's and
# OpenVINO's symmetric quantisers leave it unused too.
LOWEST = -127
# From the largest weight down to half of it: an optimum below it is not found for bell-shaped weights at 8 bits.
# First each fifth hundredth, then the hundredths around a row's best: 19 of the 51 are tried.
_COARSE = np.linspace(1.0, 0.5, 11)
_FINER = np.array([-0.04, -0.03, -0.02, -0.01, 0.01, 0.02, 0.03, 0.04])
_LEAST_SHARE = 0.5
# 256 KB in float32, as much as any processor's second cache holds.
_CACHED_VALUES = 1 << 16
# A scale below the smallest normal FP16 number would lose digits where the graph is FP16.
SMALLEST_FP16_SCALE = 2.0**-14


@dataclass(frozen=True)
class WeightQuantization:
    """The weight of one layer in INT8.

    Attributes:
        values: int8, shaped like the weight.
        scales: (K,) float32, real = int8 * scale.
        axis: The axis of the output channels, which keep a scale each.
    """

    values: npt.NDArray[np.int8]
    scales: Floats
    axis: int

    @property
    def real(self) -> Floats:
        """What the integers mean, float32, shaped like the weight."""
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        return self.values.astype(np.float32) * self.scales.reshape(shape)


def max_scales(rows: Doubles) -> Floats:
    """Return scales that clip nothing, (K,) float32: the largest magnitude of a row / 127.

    A row of zeros has the scale 1: any scale represents it.

    Args:
        rows: One output channel per row, (K, D) float64.

    Raises:
        CalibrationError: A row holds NaN or infinity.
    """
    if not np.isfinite(rows).all():
        raise CalibrationError("a weight is NaN or infinite: check the checkpoint")
    amax = np.abs(rows).max(axis=1, initial=0.0)
    return np.where(amax > 0, amax / LEVELS, 1.0).astype(np.float32)


def mse_scales(rows: Doubles) -> Floats:
    """Return the scales that minimise the squared error of rounding to the nearest level, (K,) float32.

    Args:
        rows: One output channel per row, (K, D) float64.

    Source: Banner et al. 2019, Post training 4-bit quantization of convolutional networks (arXiv
    1810.05723), which derives the optimum; here it is searched on a grid of clipping shares.
    """
    widest = max_scales(rows)
    best = widest.copy()
    # A row's optimum is its own affair: a few rows at a time stay in the processor's cache for all shares.
    step = max(1, _CACHED_VALUES // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        best[here] = _best_scales(rows[here], widest[here])
    return best


def _best_scales(rows: Doubles, widest: Floats) -> Floats:
    """Return the best scale of each row on the grid of shares, (K,) float32."""
    narrow = rows.astype(np.float32)
    rounded = np.empty_like(narrow)
    shares, least = np.ones(len(rows)), np.full(len(rows), np.inf)

    def try_shares(tried: Doubles) -> None:
        scales = (widest * tried).astype(np.float32)[:, None]
        np.divide(narrow, scales, out=rounded)
        np.rint(rounded, out=rounded)
        np.clip(rounded, LOWEST, LEVELS, out=rounded)
        np.multiply(rounded, scales, out=rounded)
        np.subtract(rounded, narrow, out=rounded)
        errors = np.einsum("kd,kd->k", rounded, rounded)
        better = errors < least
        shares[better], least[better] = tried[better], errors[better]

    for share in _COARSE:
        try_shares(np.full(len(rows), share))
    coarse = shares.copy()
    for offset in _FINER:
        try_shares(np.clip(coarse + offset, _LEAST_SHARE, 1.0))
    return (widest * shares).astype(np.float32)


def fp16_scales(scales: Floats) -> Floats:
    """Return the scales rounded up to numbers that FP16 holds exactly, (K,) float32.

    In an FP16 graph the scales are FP16. Weights are rounded against the very scales that the graph
    will hold, so that storing them costs nothing; rounded up, so that nothing is clipped by it.
    """
    raised = np.maximum(scales, np.float32(SMALLEST_FP16_SCALE))
    rounded = raised.astype(np.float16)
    short = rounded.astype(np.float32) < raised
    return np.where(short, np.nextafter(rounded, np.float16(np.inf)), rounded).astype(np.float32)


def round_to_nearest(rows: Doubles, scales: Floats) -> Doubles:
    """Return integer levels, (K, D) float64 in -127 .. 127, each the nearest to rows / scales, halves to even."""
    return np.clip(np.rint(rows / scales[:, None].astype(np.float64)), LOWEST, LEVELS)
