"""OpenVINO's own `benchmark_app` beside something of ours: one process of it, and the ratio over turns."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from rich.table import Table
from scipy import stats

from runtime.bench.peers.programs import benchmark_app_command, run_benchmark_app
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.manifest import Manifest

# What both sides compile with: one stream, which the latency hint means, and FP32 arithmetic where a graph is FP32.
BATCH = 1


class Compared(TypedDict):
    """Medians of every turn, and their ratio.

    Attributes:
        ours_ms: Median of our process, by turn.
        benchmark_app_ms: Median of benchmark_app's, likewise.
        ratio: Geometric mean of ours / benchmark_app's.
        ratio_ci95: 95 % interval of the ratio, Student's t on the logarithms.
        command: benchmark_app's command line.
        notes: What benchmark_app said of its settings that differs, and of the resolution of its figures.
    """

    ours_ms: list[float]
    benchmark_app_ms: list[float]
    ratio: float
    ratio_ci95: tuple[float, float]
    command: str
    notes: list[str]


def compare_in_turn(ours: Callable[[], float], bundle: Path, *, turns: int, seconds: float) -> Compared:
    """Return what a process of ours takes over one of benchmark_app, one after the other, in an order that swaps.

    Args:
        ours: Runs a process of ours and returns its median in milliseconds.
        bundle: The bundle whose graph both run, at batch 1.
        turns: Processes of each, at least 2.
        seconds: How long benchmark_app measures in each.
    """
    opened = open_bundle(bundle)
    mine: list[float] = []
    theirs: list[float] = []
    notes: dict[str, None] = {}

    def run_theirs() -> None:
        times = run_benchmark_app(opened, batch=BATCH, threads=None, seconds=seconds)
        theirs.append(times.median_ms)
        notes.update(dict.fromkeys(times.notes))

    for turn in range(turns):
        pair = [lambda: mine.append(ours()), run_theirs]
        for one in pair if turn % 2 else reversed(pair):
            one()
        print(f"turn {turn + 1}: {mine[-1]:.3f} ms, benchmark_app {theirs[-1]:.3f} ms", file=sys.stderr)
    ratio, low, high = log_ratio(mine, theirs)
    return Compared(
        ours_ms=mine,
        benchmark_app_ms=theirs,
        ratio=ratio,
        ratio_ci95=(low, high),
        command=" ".join(shown_command(opened, seconds=seconds)),
        notes=list(notes),
    )


def log_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ours / theirs, by turn, and its 95 % interval: Student's t on the logarithms."""
    logs = np.log(np.array(ours) / np.array(theirs))
    half = float(stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)))
    middle = float(logs.mean())
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def shown_command(bundle: Bundle, *, seconds: float) -> tuple[str, ...]:
    """Return benchmark_app's command line as a reader would type it beside the bundle."""
    manifest: Manifest = bundle.manifest
    return benchmark_app_command(
        Path(bundle.path.name), manifest.input, batch=BATCH, threads=None, seconds=seconds, precision="fp32"
    )


def ratio_table(title: str, measured: dict[str, Compared]) -> Table:
    """Return a row per bundle: both medians, the ratio and its interval.

    Args:
        title: Name of what is compared with benchmark_app.
        measured: Comparison of each bundle, by the bundle's description.
    """
    table = Table("batch 1", f"{title}, ms", "benchmark_app, ms", "ratio", "95 %")
    for name, one in measured.items():
        ours, theirs = float(np.median(one["ours_ms"])), float(np.median(one["benchmark_app_ms"]))
        low, high = one["ratio_ci95"]
        table.add_row(name, f"{ours:.3f}", f"{theirs:.3f}", f"{one['ratio']:.3f}", f"{low:.3f} to {high:.3f}")
    return table
