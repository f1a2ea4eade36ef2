"""Two results side by side, with confidence: what became slower, and whether that is more than a limit allows."""

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bench.figures.percentiles import LEAST_RUNS
from runtime.bench.figures.ratios import median_ms, ratio_interval
from runtime.bench.machine.describe import same_hardware
from runtime.bundle.results.bench_json import BenchResult, Interval, Machine, Measured, Scope
from runtime.errors import BundleError, UsageError
from runtime.support.json_file import read_versioned
from runtime.support.words import listed


class Change(BaseModel):
    """How one subject changed from one result to another.

    Attributes:
        name: The subject's name in both.
        before_ms: Median of one call before.
        now_ms: Median now.
        ratio: now / before; above 1 is slower.
        ratio_ci95: 95 % interval of the ratio.
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
        result = read_versioned(path, BenchResult, otherwise="is not a benchmark's result", next_step=again)
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): expected a bench.json; {again}") from error
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
            return f"{subject.name} appears {names.count(subject.name)} times"
        # A program that prints a summary alone has runs without times.
        if calls and len(calls) != subject.latency.runs:
            return f"{subject.name} has {len(calls)} times for {subject.latency.runs} runs"
        if calls and min(calls) <= 0:
            return f"a call of {subject.name} took {min(calls):g} ms"
    return ""


def compare_results(before: BenchResult, now: BenchResult, *, force: bool = False) -> tuple[Change, ...]:
    """Return how each subject that is in both results changed: the ratio of medians with its 95 % interval.

    Rounds of two results are not neighbours in time, so they are not paired: each side is resampled on its own. The
    interval holds what varied within either run. What varies from one run to the next, such as where the system placed
    its memory, is outside it, which is why `gate_changes` takes a limit.

    Args:
        before: The earlier result.
        now: The later one; its seed is the bootstrap's.
        force: Whether results of different machines are compared all the same; every change then says so.

    Returns:
        Changes in the order of `now`; see `left_out` for the others.

    Raises:
        UsageError: Another scope, another network, another machine without `force`, or nothing in common.
    """
    warnings = require_comparable(before, scope=now.scope, model=now.model, machine=now.machine, force=force)
    earlier = {subject.name: subject for subject in before.measured}
    both = [(earlier[subject.name], subject) for subject in now.measured if subject.name in earlier]
    pairs = [(old, new) for old, new in both if _has_times(old) and _has_times(new)]
    if not pairs:
        raise UsageError(
            f"--against has {_names(before)}, this run {_names(now)}: expected at least one measurement "
            "that both have; measure the same bundles, engines, batches and threads"
        )
    return tuple(_change(old, new, seed=now.seed, warnings=warnings) for old, new in pairs)


def require_comparable(
    before: BenchResult, *, scope: Scope, model: str, machine: Machine, force: bool
) -> tuple[str, ...]:
    """Return the warnings that a comparison with an earlier result must carry; none on the same hardware.

    Args:
        before: The earlier result.
        scope: What is inside the timers now.
        model: The network now.
        machine: What is measured on now.
        force: Whether results of different machines are compared all the same.

    Raises:
        UsageError: The two are not of one scope and network, or not of one machine without `force`.
    """
    if before.scope != scope:
        raise UsageError(
            f"--against was measured with --scope {before.scope}, this run with {scope}: "
            f"the two time different things; use --scope {before.scope}"
        )
    if before.model != model:
        raise UsageError(
            f"--against was measured on {before.model}, this run on {model}: expected the same network; pass an "
            "earlier result of it"
        )
    difference = same_hardware(before.machine, machine)
    if not difference:
        return ()
    if not force:
        raise UsageError(
            f"--against was measured on another machine ({difference}): its times say nothing about this one; "
            "measure both on one machine, or pass --force"
        )
    return (f"Measured on different machines: {difference}.",)


def left_out(before: BenchResult, now: BenchResult) -> tuple[str, ...]:
    """Return in sentences what `compare_results` says nothing about, so that no gate passes for want of a subject."""
    old = {subject.name: subject for subject in before.measured}
    new = {subject.name: subject for subject in now.measured}
    return (
        *(f"{name} is only in the earlier result." for name in old if name not in new),
        *(f"{name} is only in this result." for name in new if name not in old),
        *(
            f"{name} has no times of single calls, so its change has no interval."
            for name in new
            if name in old and not (_has_times(old[name]) and _has_times(new[name]))
        ),
    )


def parse_gate(text: str) -> float:
    """Return the growth that `--gate` accepts as a fraction: 0.05 for `5%` and for `0.05`.

    Raises:
        UsageError: The text is neither a percentage nor a fraction below 1.
    """
    number, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        limit = float(number) / (100 if percent else 1)
    except ValueError:
        limit = math.nan
    # Without the sign a 5 could be 5 % or five times.
    if not (math.isfinite(limit) and limit >= 0 and (percent or limit < 1)):
        raise UsageError(f"--gate {text}: expected the slowdown that is acceptable, such as 5% or 0.05")
    return limit


def gate_changes(changes: Sequence[Change], *, limit: float) -> tuple[Change, ...]:
    """Return the significant regressions beyond a limit: those whose whole interval is above 1 + limit.

    A time that grew by exactly the limit is reported in 2.5 % of comparisons; one that did not grow, far less often.

    Args:
        changes: Result of `compare_results`.
        limit: Growth of the median that is accepted, a fraction: 0.05 for 5 %.
    """
    return tuple(change for change in changes if change.ratio_ci95.low > 1 + limit)


def render_changes(changes: Sequence[Change], worse: Sequence[Change], *, limit: float, console: Console) -> None:
    """Print every change with its interval and its notes, then whether the gate holds.

    Args:
        changes: Result of `compare_results`.
        worse: Result of `gate_changes`.
        limit: The growth that is accepted, a fraction.
        console: Where to print.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("what")
    for heading in ("before\nms", "now\nms", "ratio\n95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("shown")
    for change in changes:
        interval = f"{change.ratio_ci95.low:.3f}-{change.ratio_ci95.high:.3f}"
        ratio = f"{change.ratio:.3f}\n{interval}"
        table.add_row(Text(change.name), f"{change.before_ms:.4g}", f"{change.now_ms:.4g}", ratio, change.verdict)
    console.print(table)
    for change in changes:
        for note in change.notes:
            console.print(Text(f"- {change.name}: {note}"))
    for change in worse:
        least = change.ratio_ci95.low - 1
        console.print(
            Text(f"FAILED: {change.name} is at least {100 * least:.1f} % slower; {100 * limit:.4g} % is accepted"),
            style="bold red",
        )
    if not worse:
        console.print(Text(f"No subject is shown to be more than {100 * limit:.4g} % slower."))


def _change(old: Measured, new: Measured, *, seed: int, warnings: tuple[str, ...]) -> Change:
    """Return how one subject changed.

    Raises:
        UsageError: One name stands for two batches or scopes, or for too few calls.
    """
    if (old.batch, old.scope) != (new.batch, new.scope):
        raise UsageError(
            f"{new.name} was batch {old.batch} with scope {old.scope}, now batch {new.batch} with scope {new.scope}: "
            "expected the same measurement under one name; measure again"
        )
    fewest = min(old.latency.runs, new.latency.runs)
    if fewest < LEAST_RUNS:
        raise UsageError(
            f"{new.name} has {fewest} timed runs in one result: expected at least {LEAST_RUNS} in both; pass more "
            "--runs"
        )
    notes = [*warnings]
    if old.precision != new.precision:
        notes.append(f"It executed {old.precision} before and {new.precision} now.")
    if old.threads != new.threads:
        notes.append(f"It had {_threads(old)} before and {_threads(new)} now.")
    return Change(
        name=new.name,
        before_ms=median_ms(old),
        now_ms=median_ms(new),
        ratio=median_ms(new) / median_ms(old),
        ratio_ci95=ratio_interval(old, new, seed=seed),
        notes=tuple(notes),
    )


def _has_times(subject: Measured) -> bool:
    return any(subject.rounds_ms)


def _threads(subject: Measured) -> str:
    return "threads of the engine's choice" if subject.threads is None else f"threads = {subject.threads}"


def _names(result: BenchResult) -> str:
    return listed([subject.name for subject in result.measured], none="nothing")
