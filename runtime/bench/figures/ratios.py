"""How many times as long one subject takes as another, with confidence: of one run, or of two."""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.bench.figures.intervals import (
    BOOTSTRAP_BLOCKS,
    bootstrap_interval,
    draw_blocks,
    resampled_percentile,
    split_blocks,
    student_interval,
)
from runtime.bundle.results.bench_json import Interval, Measured
from runtime.errors import UsageError


class Ratio(BaseModel):
    """How long one subject takes, over another of the same run.

    Attributes:
        name: The subject.
        reference: What it is divided by.
        ratio: Geometric mean over rounds of (median of the subject / median of the reference); above 1 is slower.
        ratio_ci95: 95 % interval of the ratio.
        rounds: How many pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    reference: str
    ratio: float
    ratio_ci95: Interval
    rounds: int


def paired_ratio(a: Measured, b: Measured) -> Ratio:
    """Return how long `a` takes over `b`, two subjects of one result, paired by round.

    Rounds of one index are neighbours in time, so what slows both cancels: the interval is Student's t on the log
    ratios of the rounds' medians.

    Args:
        a: The subject.
        b: The reference.

    Raises:
        UsageError: The subjects have different numbers of rounds, or fewer than two.

    Source: `runtime.bench.figures.intervals.student_interval`.
    """
    if len(a.rounds_ms) != len(b.rounds_ms) or len(a.rounds_ms) < 2 or not all(a.rounds_ms) or not all(b.rounds_ms):
        raise UsageError(
            f"{a.name} has {len(a.rounds_ms)} rounds, {b.name} {len(b.rounds_ms)}: expected two or more of each, "
            "measured in turns; measure both in one run"
        )
    pairs = zip(a.rounds_ms, b.rounds_ms, strict=True)
    logs = np.log([np.median(of_a) / np.median(of_b) for of_a, of_b in pairs])
    ratio = math.exp(logs.mean())
    return Ratio(name=a.name, reference=b.name, ratio=ratio, ratio_ci95=student_interval(ratio, logs), rounds=logs.size)


def ratio_interval(old: Measured, new: Measured, *, seed: int) -> Interval:
    """Return the 95 % interval of the ratio of medians new / old, of two runs, each resampled on its own.

    Rounds of two runs are not neighbours in time, so they are not paired. The side with fewer blocks sets how far the
    interval is widened, which is at least what both together need.

    Args:
        old: The subject before, with at least 2 calls.
        new: The subject now, with at least 2 calls.
        seed: Seed of the bootstrap.

    Source: `runtime.bench.figures.intervals`.
    """
    rng = np.random.default_rng(seed)
    sides = [split_blocks(subject.rounds_ms) for subject in (old, new)]
    fewest = min(len(blocks) for blocks in sides)
    if fewest >= BOOTSTRAP_BLOCKS:
        before, now = (resampled_percentile(blocks, draw_blocks(len(blocks), rng), 0.5) for blocks in sides)
        return bootstrap_interval(now / before, blocks=fewest)
    before_logs, now_logs = (np.log([np.median(block) for block in blocks]) for blocks in sides)
    return student_interval(median_ms(new) / median_ms(old), before_logs, now_logs)


def median_ms(subject: Measured) -> float:
    """Return the median of all calls, milliseconds."""
    return float(np.median(np.concatenate(subject.rounds_ms)))
