"""A benchmark for a person: one row per subject, then what to make of it."""

import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.bench.limits.why_slow import explain_bundles
from runtime.bundle.results.bench_json import BenchResult, Latency, Measured

_SCOPES = {
    "model": "the engine's call alone, input and output in place",
    "copies": "the engine's call with the copies between host and device",
    "end-to-end": "files to logits: reading, decoding, preprocessing and inference",
}


def render(result: BenchResult, console: Console, *, details: bool) -> None:
    """Print what was measured on what, and everything that a reader must know.

    Args:
        result: What to print.
        console: Console to print on.
        details: Whether to print what limits each subject, what makes the bundles differ, and the command lines
            of other programs that do the same.
    """
    machine = result.machine
    where = ", ".join([machine.cpu, f"{machine.cores} cores", *(gpu.name for gpu in machine.gpus)])
    console.print(Text(f"{result.model} on {where}; timed: {_SCOPES[result.scope]}"))
    console.print(_table(result.measured))
    for name, reason in result.absent.items():
        console.print(Text(f"- {name} was not measured: {reason}"))
    for warning in result.noise.warnings:
        console.print(Text(f"- noise: {warning}"), style="yellow")
    for one in result.measured:
        for note in one.notes:
            console.print(Text(f"- {one.name}: {note}"))
    for choice in result.choices:
        console.print(Text(f"- {choice.text}"))
    for limit in result.limits:
        console.print(
            Text(
                f"- {limit.name}: {limit.share:.0%} of the machine's limit (bound {limit.bound_ms:.3g} ms at "
                f"{limit.gmacs_per_s:,.0f} GMAC/s and {limit.gb_per_s:,.0f} GB/s, both probed in this run)"
            )
        )
        for finding in limit.findings if details else ():
            console.print(Text(f"    {finding}"))
    for ratio, *reasons in explain_bundles(result):
        console.print(Text(f"- {ratio}"))
        for reason in reasons if details else ():
            console.print(Text(f"    {reason}"))
    if details:
        _print_commands(result, console)
    else:
        console.print(Text("- `--details` says why, layer by layer, and how benchmark_app and trtexec do the same"))
    console.print(Text(f"Licence of the weights: {result.licence.spdx}."))


def _print_commands(result: BenchResult, console: Console) -> None:
    for name, commands in result.commands.items():
        for command in commands:
            console.print(Text(f"- the same as {name}: {command}"), soft_wrap=True)


def _table(measured: tuple[Measured, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("what")
    table.add_column("executes")
    for heading in ("median ms\n95 %", "p90", "p95", "p99", "max", "images\n/s", "load\nms", "first\nms", "MB", "runs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in measured:
        latency = one.latency
        table.add_row(
            Text(one.name),
            Text(one.precision),
            _median(latency),
            *(_ms(value) for value in (latency.p90_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)),
            f"{one.images_per_s:,.0f}",
            _ms(one.load_ms),
            _ms(one.first_ms),
            "-" if one.peak_memory_mb is None else f"{one.peak_memory_mb:,.0f}",
            str(latency.runs),
        )
    return table


def _median(latency: Latency) -> str:
    interval = latency.median_ci95
    return f"{_ms(latency.median_ms)}\n{_ms(interval.low)}-{_ms(interval.high)}"


def _ms(value: float | None) -> str:
    """Return milliseconds with three significant digits; `-` for what was not measured or cannot be told."""
    if value is None:
        return "-"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 2
    return f"{value:.{min(max(digits, 0), 4)}f}"
