"""95 % intervals of what was timed in rounds: a bootstrap over whole rounds, and Student's t.

Calls that are neighbours in time are alike: the clock, the caches and the other tenants of a machine are the same for
them. So the unit that is drawn is the round, not the call. Drawing calls inside the drawn rounds as well would count
the spread of calls twice and give intervals that are up to 1.4 times too wide.

Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8: of the two ways to resample
hierarchical data, whole groups with replacement is the one whose variance is right to first order.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from runtime.bundle.results.bench_json import Interval
from runtime.support.arrays import Doubles, Ints

RESAMPLES = 2_000
# More than 30 blocks sharpen an interval by less than 5 %, while longer blocks are less alike to their neighbours.
# Source: Schmeiser, Operations Research 30 (1982) 556-568, "Batch size effects in the analysis of simulation output".
MOST_BLOCKS = 30
# Fewer blocks can be drawn in too few ways for the ends of an interval: 5 in 126. The bootstrap's 95 % interval
# then covers clearly less (docs/explanation/decisions.md); Student's t takes its place.
BOOTSTRAP_BLOCKS = 6
# Blocks that a single round is cut into. Source: Schmeiser (1982), 10 to 30 are enough.
CUT_BLOCKS = 10
_CONFIDENCE = 0.95
# Each halving adds one bit; float64 has 53.
_BISECTIONS = 60


def split_blocks(rounds_ms: Sequence[Sequence[float]]) -> tuple[Doubles, ...]:
    """Return the calls in blocks that are neighbours in time: what is drawn as a whole.

    A block is a round. More than `MOST_BLOCKS` rounds are joined with their neighbours. A single round is cut into
    `CUT_BLOCKS`, or into single calls where there are fewer: how it would drift from one to the next stays unknown.

    Args:
        rounds_ms: Every call by round, milliseconds; empty rounds are left out.

    Returns:
        Blocks in the order of time, each (calls,) float64 and not empty.
    """
    rounds = [np.asarray(calls, dtype=np.float64) for calls in rounds_ms if len(calls)]
    if len(rounds) > MOST_BLOCKS:
        joined = np.array_split(np.arange(len(rounds)), MOST_BLOCKS)
        return tuple(np.concatenate([rounds[i] for i in part]) for part in joined)
    if len(rounds) == 1:
        return tuple(np.array_split(rounds[0], min(CUT_BLOCKS, rounds[0].size)))
    return tuple(rounds)


def draw_blocks(blocks: int, rng: np.random.Generator) -> Ints:
    """Return how often each resample draws each block, (RESAMPLES, blocks) int64; each row adds up to `blocks`."""
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES).astype(np.int64)


def resampled_mean(blocks: Sequence[Doubles], draws: Ints) -> Doubles:
    """Return the mean of all calls of each resample, (RESAMPLES,) float64."""
    sums = np.array([block.sum() for block in blocks])
    counts = np.array([block.size for block in blocks])
    means: Doubles = (draws @ sums) / (draws @ counts)
    return means


def resampled_percentile(blocks: Sequence[Doubles], draws: Ints, share: float) -> Doubles:
    """Return a percentile of all calls of each resample, interpolated as numpy's `linear`.

    No resample is written out: all calls are sorted once, and a bisection finds each order statistic from the number
    of calls of each block at or below a value. So 2,000 resamples of 100,000 calls take a fraction of a second.

    Args:
        blocks: Calls by block, milliseconds.
        draws: How often each block is drawn, (RESAMPLES, blocks).
        share: 0.5 for the median.

    Returns:
        (RESAMPLES,) float64.
    """
    pooled = np.sort(np.concatenate(blocks))
    below = np.stack([np.searchsorted(np.sort(block), pooled, side="right") for block in blocks])
    position = (draws @ np.array([block.size for block in blocks]) - 1) * share
    lower = np.floor(position).astype(np.int64)
    low = pooled[_ranked(below, draws, lower)]
    high = pooled[_ranked(below, draws, np.ceil(position).astype(np.int64))]
    values: Doubles = low + (position - lower) * (high - low)
    return values


def _ranked(below: Ints, draws: Ints, rank: Ints) -> Ints:
    """Return the index in the sorted calls of the 0-based order statistic `rank` of each resample.

    Args:
        below: Calls of each block at or below each sorted call, (blocks, calls).
        draws: (RESAMPLES, blocks).
        rank: (RESAMPLES,).
    """
    low = np.zeros_like(rank)
    high = np.full_like(rank, below.shape[1] - 1)
    while (low < high).any():
        middle = (low + high) // 2
        enough = np.einsum("rb,br->r", draws, below[:, middle]) > rank
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle + 1)
    return low


def bootstrap_interval(values: Doubles, *, blocks: int) -> Interval:
    """Return the 95 % interval from a statistic of each resample.

    Plain percentiles of so few blocks are too narrow, by the factor that Student's t has over the normal and by
    sqrt((n - 1) / n); the levels are moved outwards by both.

    Args:
        values: (RESAMPLES,) float64.
        blocks: How many blocks were drawn from, at least `BOOTSTRAP_BLOCKS`.

    Source: Hesterberg, The American Statistician 69 (2015) 371-386, "expanded percentile interval".
    """
    tail = NormalDist().cdf(-math.sqrt(blocks / (blocks - 1)) * student_t(blocks - 1))
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))


def student_interval(centre: float, *sides: Doubles) -> Interval:
    """Return the 95 % interval of a time, or of a ratio of two, from one logarithm per block, by Student's t.

    In logarithms, so that no time is negative and a ratio and its inverse give one answer.

    Args:
        centre: The time or ratio itself.
        sides: Natural logarithms of the time in each block, (blocks,) float64, at least 2; one array, or two where
            `centre` is a ratio of times that were not measured in turns.

    Source: Student, Biometrika 6 (1908) 1-25; for two sides Welch, Biometrika 34 (1947) 28-35, with the least degrees
    of freedom that his formula can give.
    """
    degrees = min(logs.size for logs in sides) - 1
    half = student_t(degrees) * math.sqrt(sum(float(logs.var(ddof=1)) / logs.size for logs in sides))
    return Interval(low=centre * math.exp(-half), high=centre * math.exp(half))


def student_t(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t distribution.

    Args:
        degrees: Degrees of freedom, at least 1.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4, inverted by bisection.
    """
    assert degrees >= 1, f"{degrees} degrees of freedom"
    low, high = 0.0, math.pi / 2
    for _ in range(_BISECTIONS):
        angle = (low + high) / 2
        if _within(angle, degrees) < _CONFIDENCE:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan(high)


def _within(angle: float, degrees: int) -> float:
    """Return the probability of |t| < sqrt(degrees) tan(angle), by the finite series for whole degrees of freedom."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for i in range(1, degrees // 2 + 1):
        total += term
        term *= math.cos(angle) ** 2 * (2 * i - 1 + odd) / (2 * i + odd)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
