"""Clipping thresholds of activations, from a histogram of their magnitudes.

    max                  the largest magnitude: nothing is clipped
    percentile-99.99     what 99.99 % of the values stay below
    percentile-99.999    what 99.999 % of the values stay below
    entropy              least Kullback-Leibler divergence, TensorRT's rule
    mse                  least expected squared error

No threshold is above the exact largest magnitude. A tensor that was zero on every image gets 1: any scale
represents it.
"""

from collections.abc import Callable
from typing import get_args

import numpy as np

from calibration.activations.histogram import Counts
from calibration.options import Method
from runtime.support.arrays import Doubles

METHODS: tuple[Method, ...] = get_args(Method)


_DEAD = 1.0
# TensorRT: 2,048 bins, of which the first 128 are the smallest candidate, since 128 levels are to be filled.
_ENTROPY_BINS = 2048
_ENTROPY_LEVELS = 128
# Thresholds tried: every eighth bin is 0.4 to 0.8 % of the largest magnitude.
_ENTROPY_STEP = 8
# Shares of the largest magnitude: first all of these, then finer ones around the best.
_MSE_SHARES = np.linspace(0.15, 1.0, 35)
_MSE_FINER = np.linspace(-0.02, 0.02, 9)


def threshold(counts: Counts, width: float, amax: float, *, method: Method, levels: int) -> float:
    """Return the magnitude at which a tensor is clipped, > 0.

    Args:
        counts: Histogram of magnitudes, (bins,) int64.
        width: Width of a bin.
        amax: Exact largest magnitude.
        method: The rule, of the list above.
        levels: Levels above zero: 127, or 255 for an unsigned tensor.
    """
    if amax == 0 or not counts.any():
        return amax or _DEAD
    clip = _RULES[method](counts, width, amax, levels)
    # A bin may reach beyond the largest magnitude.
    return min(clip, amax)


def _max(_counts: Counts, _width: float, amax: float, _levels: int) -> float:
    return amax


def _percentile(share: float) -> "Callable[[Counts, float, float, int], float]":
    def rule(counts: Counts, width: float, _amax: float, _levels: int) -> float:
        cumulative = counts.cumsum()
        wanted = share * cumulative[-1]
        at = int(np.searchsorted(cumulative, wanted))
        return float((at + (wanted - (cumulative[at] - counts[at])) / counts[at]) * width)

    return rule


def _mse(counts: Counts, width: float, amax: float, levels: int) -> float:
    """Return the threshold of least expected squared error, values lying evenly inside a bin.

    With step s, u = x / s, n = round(u) and r = u - n, the integral of the squared rounding error from 0 to x
    is s^3 (n / 12 + r^3 / 3); beyond the threshold T the error is x - T, whose squared integral is (x - T)^3 / 3.
    """
    used = int(np.flatnonzero(counts)[-1]) + 1
    edges = np.minimum(np.arange(used + 1) * width, max(amax, (used - 0.5) * width))

    def best(shares: Doubles) -> float:
        errors = [_squared_error(edges, counts[:used], share * amax, levels) for share in shares]
        return float(shares[int(np.argmin(errors))])

    coarse = best(_MSE_SHARES)
    return best(np.minimum(coarse + _MSE_FINER, 1.0)) * amax


def _squared_error(edges: Doubles, counts: Counts, clip: float, levels: int) -> float:
    step = clip / levels
    units = np.minimum(edges, clip) / step
    nearest = np.rint(units)
    rounding = step**3 * (nearest / 12 + _cube(units - nearest) / 3)
    integral = rounding + _cube(np.maximum(edges - clip, 0)) / 3
    return float((counts * np.diff(integral) / np.diff(edges)).sum())


def _cube(values: Doubles) -> Doubles:
    """Return the third powers; NumPy's ** takes many times as long as two products."""
    cubes: Doubles = values * values * values
    return cubes


def _entropy(counts: Counts, width: float, amax: float, _levels: int) -> float:
    """Return TensorRT's threshold: the distribution that loses least information when cut and coarsened.

    For a threshold of i bins: P is the first i bins, with what lies beyond added to the last; Q is the first i
    bins coarsened to 128 levels, spread again over the bins of a level that are not empty. The i with the
    least KL(P || Q) is taken. The first bin, which holds ReLU's zeros, counts as much as the second; where
    there is nothing else, nothing is clipped.

    Source: Migacz, 8-bit Inference with TensorRT, GTC 2017; the treatment of the first bin is that of
    NVIDIA's pytorch-quantization.
    """
    while np.flatnonzero(counts)[-1] >= _ENTROPY_BINS:
        counts, width = counts.reshape(-1, 2).sum(axis=1), 2 * width
    bins = counts.astype(np.float64)
    bins[0] = bins[1]
    if not bins.any():
        return amax
    ends = np.flatnonzero(bins) + 1
    used = int(ends[-1])
    if used <= _ENTROPY_LEVELS:
        return float(used * width)
    # Up to the next bin that holds anything: P of an empty last bin would be what was cut, and Q nothing.
    wanted = [*range(_ENTROPY_LEVELS, used, _ENTROPY_STEP), used]
    candidates = np.unique(ends[np.searchsorted(ends, wanted)])
    divergences = [_divergence(bins, int(candidate)) for candidate in candidates]
    # Ties go to the wider threshold, which clips less.
    best = len(divergences) - 1 - int(np.argmin(divergences[::-1]))
    return float((candidates[best] + 0.5) * width)


def _divergence(bins: Doubles, kept: int) -> float:
    """Return KL(P || Q); the last bin kept is not empty, so Q is zero only where P is."""
    reference = bins[:kept].copy()
    reference[-1] += bins[kept:].sum()
    filled = bins[:kept] > 0
    starts = np.arange(_ENTROPY_LEVELS) * kept // _ENTROPY_LEVELS
    sums, counts = np.add.reduceat(bins[:kept], starts), np.add.reduceat(filled.astype(np.float64), starts)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    lengths = np.diff(np.append(starts, kept))
    coarse = np.repeat(means, lengths) * filled
    present = reference > 0
    p, q = reference[present] / reference.sum(), coarse[present] / coarse.sum()
    return float((p * np.log(p / q)).sum())


_RULES: dict[Method, Callable[[Counts, float, float, int], float]] = {
    "max": _max,
    "percentile-99.99": _percentile(0.9999),
    "percentile-99.999": _percentile(0.99999),
    "entropy": _entropy,
    "mse": _mse,
}
