"""How long one call takes: percentiles and their 95 % intervals, and none where there are too few calls for them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runtime.bench.figures.intervals import (
    BOOTSTRAP_BLOCKS,
    bootstrap_interval,
    draw_blocks,
    resampled_mean,
    resampled_percentile,
    split_blocks,
    student_interval,
)
from runtime.bundle.results.bench_json import Interval, Latency
from runtime.errors import UsageError
from runtime.support.arrays import Doubles, Ints

# With 5 calls the median lies outside all of them with probability 2 / 2^5 = 6 %: no interval of them can be a 95 %
# one. Source: the interval of a quantile from order statistics, any text on non-parametric statistics.
LEAST_RUNS = 6
# A percentile needs 2 / (1 - p) calls at least, so that two are expected beyond it: with fewer it is the slowest call,
# and one interruption decides it. p90 and p95 are asked five beyond them, which the 200 calls of p99 bring anyway.
RUNS_FOR_P90 = 50
RUNS_FOR_P95 = 100
RUNS_FOR_P99 = 200
# Below this the 99th percentile itself is slower than every call with probability 0.99^n > 2.5 %, so no interval of
# calls can be a 95 % one. Source: as for LEAST_RUNS; the least n with 0.99^n <= 0.025.
RUNS_FOR_P99_INTERVAL = 368


def describe_latency(rounds_ms: Sequence[Sequence[float]], *, seed: int) -> Latency:
    """Return the latency of one call, with 95 % intervals in which drift between rounds counts.

    Percentiles are interpolated as numpy's `linear`. What there are too few calls for is None: nothing is
    extrapolated. The same calls and seed give the same figures. The interval of a p99 is the least sure one: on
    simulated calls it holds the truth in 89 to 94 of 100 cases, and in fewer where rounds differ by as much as calls
    do, since the slowest rounds then decide it.

    Args:
        rounds_ms: Every call that counts, by round, milliseconds.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: There are fewer than `LEAST_RUNS` calls, or one took no positive, finite time.

    Source: `runtime.bench.figures.intervals`.
    """
    blocks = split_blocks(rounds_ms)
    runs = sum(block.size for block in blocks)
    if runs < LEAST_RUNS:
        raise UsageError(
            f"{runs} timed runs: expected at least {LEAST_RUNS}, since with fewer the median has no 95 % "
            f"interval, and {RUNS_FOR_P99} for a p99: pass more --runs or --seconds"
        )
    calls = np.concatenate(blocks)
    if not (np.isfinite(calls).all() and calls.min() > 0):
        raise UsageError(
            f"timed runs from {calls.min():g} to {calls.max():g} ms: expected positive times; measure again"
        )
    median, mean = float(np.median(calls)), math.fsum(calls) / runs
    draws = draw_blocks(len(blocks), np.random.default_rng(seed))

    def percentile(percent: int, *, least: int) -> float | None:
        return float(np.percentile(calls, percent)) if runs >= least else None

    return Latency(
        runs=runs,
        median_ms=median,
        median_ci95=_interval(blocks, median, resampled_percentile(blocks, draws, 0.5), np.median),
        mean_ms=mean,
        mean_ci95=_interval(blocks, mean, resampled_mean(blocks, draws), np.mean),
        min_ms=float(calls.min()),
        max_ms=float(calls.max()),
        p90_ms=percentile(90, least=RUNS_FOR_P90),
        p95_ms=percentile(95, least=RUNS_FOR_P95),
        p99_ms=percentile(99, least=RUNS_FOR_P99),
        p99_ci95=_p99_interval(blocks, draws) if runs >= RUNS_FOR_P99_INTERVAL else None,
    )


def _interval(
    blocks: Sequence[Doubles], whole: float, resampled: Doubles, statistic: Callable[[Doubles], np.floating[Any]]
) -> Interval:
    """Return the interval of a statistic: from its resamples, or from its blocks where these are few.

    Args:
        blocks: Calls by block.
        whole: The statistic of all calls.
        resampled: Times of each resample.
        statistic: Computes it.
    """
    if len(blocks) >= BOOTSTRAP_BLOCKS:
        return bootstrap_interval(resampled, blocks=len(blocks))
    return student_interval(whole, np.log([statistic(block) for block in blocks]))


def _p99_interval(blocks: Sequence[Doubles], draws: Ints) -> Interval | None:
    # No block has calls enough for a p99 of its own, so there is no Student's t where blocks are few.
    if len(blocks) < BOOTSTRAP_BLOCKS:
        return None
    return bootstrap_interval(resampled_percentile(blocks, draws, 0.99), blocks=len(blocks))
