"""Two results side by side, with confidence: what became slower, and whether that is more than a limit allows."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.bench.intervals import (
    BOOTSTRAP_BLOCKS,
    bootstrap_interval,
    draw_blocks,
    resampled_percentile,
    split_blocks,
    student_interval,
)
from runtime.bench.machine import same_hardware
from runtime.bench.percentiles import LEAST_RUNS
from runtime.bench.result import RESULT_VERSION, BenchResult, Interval, Measured
from runtime.bundle import first_problem
from runtime.errors import BundleError, UsageError


class Ratio(BaseModel):
    """How long one subject takes, over another of the same run.

    Attributes:
        name: The subject.
        reference: What it is divided by.
        ratio: Geometric mean over rounds of (median of the subject / median of the reference); above 1 is slower.
        ratio_ci95: Its interval.
        rounds: How many pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    reference: str
    ratio: float
    ratio_ci95: Interval
    rounds: int


class Change(BaseModel):
    """How one subject changed from one result to another.

    Attributes:
        name: The subject's name in both.
        before_ms: Median of one call before.
        now_ms: Median now.
        ratio: now / before; above 1 is slower.
        ratio_ci95: Its interval.
        notes: What differs beside the time, and warnings, in sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    before_ms: float
    now_ms: float
    ratio: float
    ratio_ci95: Interval
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`slower` or `faster` where the interval leaves 1 out, else `no difference shown`."""
        if self.ratio_ci95.low > 1:
            return "slower"
        return "faster" if self.ratio_ci95.high < 1 else "no difference shown"


def read_result(path: Path) -> BenchResult:
    """Return the result of a benchmark.

    Raises:
        BundleError: The file cannot be read, is no result, is newer than this version, or contradicts itself.
    """
    again = "measure again with `run-ssl bench`"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): expected a bench.json; {again}") from error
    try:
        raw = json.loads(text)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(version, int) and version > RESULT_VERSION:
            raise BundleError(
                f"{path} has schema version {version}, this run-ssl reads up to {RESULT_VERSION}: "
                "upgrade with `pip install --upgrade export-ssl`"
            )
        result = BenchResult.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{path} is not a benchmark's result ({first_problem(error)}): {again}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON ({error}): {again}") from error
    problem = _contradiction(result)
    if problem:
        raise BundleError(f"{path} contradicts itself ({problem}): {again}")
    return result


def _contradiction(result: BenchResult) -> str:
    """Return what cannot be true in a result that fits the schema, or ""."""
    names = [subject.name for subject in result.measured]
    for subject in result.measured:
        calls = [call for calls in subject.rounds_ms for call in calls]
        if names.count(subject.name) > 1:
            return f"{subject.name} is there {names.count(subject.name)} times"
        if len(calls) != subject.latency.runs:
            return f"{subject.name} has {len(calls)} times for {subject.latency.runs} runs"
        if min(calls) <= 0:
            return f"a call of {subject.name} took {min(calls):g} ms"
    return ""


def compare_results(before: BenchResult, now: BenchResult, *, force: bool = False) -> tuple[Change, ...]:
    """Return how each subject that is in both results changed: the ratio of medians with its 95 % interval.

    Rounds of two results are not neighbours in time, so they are not paired: each side is resampled on its own. The
    interval holds what varied within either run. What varies from one run to the next, such as where the system placed
    its memory, is outside it, which is why `gate` takes a limit.

    Args:
        before: The earlier result.
        now: The later one; its seed is the bootstrap's.
        force: Whether results of different machines are compared all the same; every change then says so.

    Returns:
        In the order of `now`.

    Raises:
        UsageError: Another scope, another network, another machine without `force`, or nothing in common.
    """
    warnings = _comparable(before, now, force=force)
    earlier = {subject.name: subject for subject in before.measured}
    pairs = [(earlier[subject.name], subject) for subject in now.measured if subject.name in earlier]
    if not pairs:
        raise UsageError(
            f"--against has {_listed(before)}, this run {_listed(now)}: expected a subject in both; "
            "measure the same bundles, engines, batches and threads"
        )
    return tuple(_change(old, new, seed=now.seed, warnings=warnings) for old, new in pairs)


def only_in_one(before: BenchResult, now: BenchResult) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the subjects that `compare_results` leaves out: those only in `before`, and those only in `now`."""
    old = tuple(subject.name for subject in before.measured)
    new = tuple(subject.name for subject in now.measured)
    return tuple(name for name in old if name not in new), tuple(name for name in new if name not in old)


def gate(changes: Sequence[Change], *, limit: float) -> tuple[Change, ...]:
    """Return the significant regressions beyond a limit: those whose whole interval is above 1 + limit.

    Each is wrong by chance in at most 2.5 % of comparisons where the time grew by exactly the limit, and far less often
    where it did not grow.

    Args:
        changes: From `compare_results`.
        limit: Growth of the median that is accepted, a fraction: 0.05 for 5 %.

    Raises:
        UsageError: The limit is no fraction.
    """
    if not (math.isfinite(limit) and limit >= 0):
        raise UsageError(f"--gate {limit:g}: expected a share of growth that is accepted, such as 5% or 0.05")
    return tuple(change for change in changes if change.ratio_ci95.low > 1 + limit)


def paired_ratio(a: Measured, b: Measured) -> Ratio:
    """Return how long `a` takes over `b`, two subjects of one result, paired by round.

    Rounds of one index are neighbours in time, so what slows both cancels: the interval is Student's t on the log
    ratios of the rounds' medians.

    Args:
        a: The subject.
        b: The reference.

    Raises:
        UsageError: They have different numbers of rounds, or fewer than two.

    Source: `runtime.bench.intervals.student_interval`.
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


def _comparable(before: BenchResult, now: BenchResult, *, force: bool) -> tuple[str, ...]:
    """Return the warnings of a comparison that is made all the same.

    Raises:
        UsageError: The two cannot be compared, or should not be.
    """
    if before.scope != now.scope:
        raise UsageError(
            f"--against was measured with --scope {before.scope}, this run with {now.scope}: "
            f"their times are not of the same thing; use --scope {before.scope}"
        )
    if before.model != now.model:
        raise UsageError(
            f"--against was measured on {before.model}, this run on {now.model}: expected one network; "
            "give a result of the same one"
        )
    difference = same_hardware(before.machine, now.machine)
    if not difference:
        return ()
    if not force:
        raise UsageError(
            f"--against was measured on another machine ({difference}): its times say nothing about this one; "
            "measure both here, or pass --force"
        )
    return (f"Measured on different machines: {difference}.",)


def _change(old: Measured, new: Measured, *, seed: int, warnings: tuple[str, ...]) -> Change:
    """Return how one subject changed.

    Raises:
        UsageError: One name stands for two batches or scopes, or for too few calls.
    """
    if (old.batch, old.scope) != (new.batch, new.scope):
        raise UsageError(
            f"{new.name} was batch {old.batch} with scope {old.scope}, now batch {new.batch} with scope {new.scope}: "
            "expected one thing under one name; measure again"
        )
    fewest = min(old.latency.runs, new.latency.runs)
    if fewest < LEAST_RUNS:
        raise UsageError(
            f"{new.name} has {fewest} timed runs in one result: expected at least {LEAST_RUNS} in both; ask for more"
        )
    notes = [*warnings]
    if old.precision != new.precision:
        notes.append(f"It executed {old.precision} before and {new.precision} now.")
    if old.threads != new.threads:
        notes.append(f"It had {_threads(old)} before and {_threads(new)} now.")
    return Change(
        name=new.name,
        before_ms=_median(old),
        now_ms=_median(new),
        ratio=_median(new) / _median(old),
        ratio_ci95=_ratio_interval(old, new, seed=seed),
        notes=tuple(notes),
    )


def _ratio_interval(old: Measured, new: Measured, *, seed: int) -> Interval:
    """Return the 95 % interval of the ratio of medians new / old, each side resampled on its own.

    The side with fewer blocks sets how far the interval is widened, which is at least what both together need.

    Source: `runtime.bench.intervals`.
    """
    rng = np.random.default_rng(seed)
    sides = [split_blocks(subject.rounds_ms) for subject in (old, new)]
    fewest = min(len(blocks) for blocks in sides)
    if fewest >= BOOTSTRAP_BLOCKS:
        before, now = (resampled_percentile(blocks, draw_blocks(len(blocks), rng), 0.5) for blocks in sides)
        return bootstrap_interval(now / before, blocks=fewest)
    before_logs, now_logs = (np.log([np.median(block) for block in blocks]) for blocks in sides)
    return student_interval(_median(new) / _median(old), before_logs, now_logs)


def _median(subject: Measured) -> float:
    return float(np.median(np.concatenate(subject.rounds_ms)))


def _threads(subject: Measured) -> str:
    return "threads of the engine's choice" if subject.threads is None else f"threads = {subject.threads}"


def _listed(result: BenchResult) -> str:
    return ", ".join(subject.name for subject in result.measured) or "nothing"
