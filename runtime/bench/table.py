"""A benchmark for a person: what is the fastest, a line for each subject, and what to make of it."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from runtime.bench.figures.ratios import Ratio
from runtime.bench.limits.why_slow import explain_bundles
from runtime.bench.notes import describe_fastest, is_shown, list_notes, speeds_against_fp32
from runtime.bundle.results.bench_json import BenchResult, Measured
from runtime.engines.contract import shorten_precision
from runtime.support.narrow_table import Column, fitting_columns, make_table
from runtime.support.paragraphs import print_paragraph
from runtime.support.words import counted, shared_start

_SCOPES = {
    "model": "the engine's call alone, input and output in place",
    "copies": "the engine's call with the copies between host and device",
    "end-to-end": "files to outputs: reading, decoding, preprocessing and inference",
}


def render(result: BenchResult, console: Console, *, details: bool) -> None:
    """Print what was measured on what, and everything that a reader must know.

    Args:
        result: What to print.
        console: Console to print on; 80 columns are enough.
        details: Whether to print every figure, what limits each subject, what makes the bundles differ, and the
            command lines of other programs that do the same.
    """
    speeds = speeds_against_fp32(result)
    print_paragraph(describe_fastest(result, speeds), console, style="bold")
    console.print()
    print_paragraph(_what_is_timed(result), console)
    console.print()
    columns = _columns(result, speeds)
    console.print(make_table(fitting_columns(columns, result.measured, console), result.measured, console))
    console.print()
    if details:
        console.print(make_table(_further_columns(columns), result.measured, console))
        console.print()
    for note in list_notes(result, speeds):
        print_paragraph(note, console, bullet=True, style="yellow" if note.startswith("noise") else "")
    if details:
        _print_reasons(result, speeds, console)
    else:
        more = "`--details` has p90 to max, load, memory, why, layer by layer, and commands that do the same."
        print_paragraph(more, console)
    print_paragraph(f"Licence of the weights: {result.licence.spdx}.", console)


def _what_is_timed(result: BenchResult) -> str:
    """Return what was measured on what, with what is the same for all subjects."""
    machine, measured = result.machine, result.measured
    where = ", ".join([machine.cpu, f"{machine.cores} cores", *(gpu.name for gpu in machine.gpus)])
    same = []
    if _constant([one.batch for one in measured]):
        same.append(f"batch {measured[0].batch}")
    if _constant([one.threads for one in measured]) and measured[0].threads is not None:
        same.append(counted(measured[0].threads, "thread"))
    if _constant([one.latency.runs for one in measured]):
        same.append(f"{measured[0].latency.runs:,} calls of each")
    return f"{'; '.join([f'{result.model} on {where}', f'timed: {_SCOPES[result.scope]}', *same])}."


def _print_reasons(result: BenchResult, speeds: dict[str, Ratio], console: Console) -> None:
    """Print intervals, what limits each subject, why bundles differ, and the commands that do the same."""
    for ratio in speeds.values():
        if ratio.name != ratio.reference:
            low, high = ratio.ratio_ci95.low, ratio.ratio_ci95.high
            _bullet(
                f"{ratio.name}: {ratio.ratio:.3f} times the speed of {ratio.reference} ({low:.3f}-{high:.3f})", console
            )
    for choice in result.choices:
        _bullet(choice.text, console)
    for limit in result.limits:
        _bullet(
            f"{limit.name}: {limit.share:.0%} of the machine's limit (bound {limit.bound_ms:.3g} ms at "
            f"{limit.gmacs_per_s:,.0f} GMAC/s and {limit.gb_per_s:,.0f} GB/s, both probed in this run)",
            console,
        )
        for finding in limit.findings:
            console.print(Text(f"    {finding}"))
    for ratio_in_words, *reasons in explain_bundles(result):
        _bullet(ratio_in_words, console)
        for reason in reasons:
            console.print(Text(f"    {reason}"))
    for name, commands in result.commands.items():
        for command in commands:
            console.print(Text(f"- the same as {name}: {command}"), soft_wrap=True)


def _bullet(text: str, console: Console) -> None:
    print_paragraph(text, console, bullet=True)


def _columns(result: BenchResult, speeds: dict[str, Ratio]) -> tuple[Column[Measured], ...]:
    """Return the columns that compare the subjects; what is the same for all stands in the line above."""
    labels = {one.name: _label(one) for one in result.measured}
    start = shared_start(list(dict.fromkeys(labels.values())))
    shares = {limit.name: f"{limit.share:.0%}" for limit in result.limits}
    columns = [
        Column[Measured]("engine", lambda one: Text(one.engine), figures=False),
        Column[Measured](
            f"{start}…" if start else "bundle", lambda one: Text(labels[one.name][len(start) :]), figures=False
        ),
        Column[Measured]("runs in", lambda one: Text(shorten_precision(one.precision)), figures=False),
    ]
    if not _constant([one.batch for one in result.measured]):
        columns.append(Column("batch", lambda one: str(one.batch)))
    if not _constant([one.threads for one in result.measured]):
        columns.append(Column("thr.", lambda one: "-" if one.threads is None else str(one.threads)))
    return (
        *columns,
        Column("median\nms", lambda one: _ms(one.latency.median_ms)),
        Column("95 % CI", _interval, rank=1),
        Column("p99\nms", lambda one: _ms(one.latency.p99_ms), rank=2),
        Column("img\n/s", lambda one: f"{one.images_per_s:,.0f}"),
        Column("times\nFP32", lambda one: _speed(speeds.get(one.name))),
        Column("of\nlimit", lambda one: shares.get(one.name, "")),
    )


def _further_columns(columns: tuple[Column[Measured], ...]) -> tuple[Column[Measured], ...]:
    """Return the columns of the second table, which `--details` prints."""
    names = [column for column in columns if not column.figures and column.heading != "runs in"]
    settings = [column for column in columns if column.heading in ("batch", "thr.")]
    return (
        *names,
        *settings,
        Column("95 % CI", _interval),
        Column("p90", lambda one: _ms(one.latency.p90_ms)),
        Column("p95", lambda one: _ms(one.latency.p95_ms)),
        Column("p99", lambda one: _ms(one.latency.p99_ms)),
        Column("max", lambda one: _ms(one.latency.max_ms)),
        Column("load\nms", lambda one: _ms(one.load_ms)),
        Column("first\nms", lambda one: _ms(one.first_ms)),
        Column("MB", lambda one: "-" if one.peak_memory_mb is None else f"{one.peak_memory_mb:,.0f}"),
        Column("runs", lambda one: str(one.latency.runs)),
    )


def _label(one: Measured) -> str:
    """Return the bundle as the subject's name has it: what stands there before the engine."""
    return one.name.partition(f" {one.engine}")[0]


def _constant(values: Sequence[object]) -> bool:
    """Return whether all values are equal, so that one line says what a column would."""
    return len(set(values)) <= 1


def _interval(one: Measured) -> str:
    interval = one.latency.median_ci95
    return f"{_ms(interval.low)}-{_ms(interval.high)}"


def _speed(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    unsure = ratio.name != ratio.reference and not is_shown(ratio)
    return f"{'~' if unsure else ''}{ratio.ratio:.2f}"


def _ms(value: float | None) -> str:
    """Return milliseconds with three significant digits; `-` for what was not measured or cannot be told."""
    if value is None:
        return "-"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 2
    return f"{value:.{min(max(digits, 0), 4)}f}"
