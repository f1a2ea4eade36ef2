"""How quiet the machine was while a benchmark ran, and what a reader of its figures must know of that."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from runtime.bench.machine.describe import read_governor
from runtime.bench.machine.processor_time import ProcessorTime, count_quota_stops, read_load, read_processor_time
from runtime.bench.machine.quiet import BUSY_SHARE, DRIFT, LOAD_PER_CORE, STEAL_SHARE
from runtime.bundle.results.bench_json import Gpu, Measured, Noise
from runtime.support.cpu import usable_cores

# Three times as much in one subject, while another was steady, is the subject itself.
SUBJECT_DRIFT = 1.15
# Half of the calls of a round lie further apart than a tenth of their median: a difference of some percent is then
# seen only with hundreds of calls.
SPREAD = 0.10
# Below it the quartiles are single calls.
_CALLS_FOR_SPREAD = 20
# 1 s of one core at 100 ticks per second: below it one tick is more than 1 %.
_LEAST_TICKS = 100


class NoiseWatch:
    """Watches the machine from `start` to `finish`."""

    def __init__(self, root: Path = Path("/"), process: int | None = None) -> None:
        """Prepare to watch.

        Args:
            root: The folder that holds Linux's `proc` and `sys`.
            process: The process that measures, with all below it; None for this one.
        """
        self._root = root
        self._process = os.getpid() if process is None else process
        self._load: float | None = None
        self._before: ProcessorTime | None = None
        self._stops = 0

    def start(self) -> None:
        """Note the counters before the first call that is timed; its processes may be running already."""
        self._load = read_load(self._root)
        self._before = read_processor_time(self._process, self._root)
        self._stops = count_quota_stops(self._root)

    def finish(self, measured: Sequence[Measured], gpus: Iterable[Gpu] = ()) -> Noise:
        """Return how quiet it was since `start`; its processes must be running still, or have been waited for.

        Args:
            measured: What was timed meanwhile.
            gpus: The GPUs that were used, described right after the last call.
        """
        assert self._load is not None, "finish() before start()"
        steal, busy = self._shares()
        drifts = {each.name: value for each in measured if (value := round_drift(each.rounds_ms)) is not None}
        drift = min(drifts.values(), default=1.0)
        warnings = (
            *_share_warnings(steal, busy),
            *_load_warnings(self._load, busy),
            *_quota_warnings(count_quota_stops(self._root) - self._stops),
            *_drift_warnings(drifts, read_governor(self._root)),
            *_spread_warnings(measured),
            *_gpu_warnings(gpus),
        )
        return Noise(
            load_before=self._load,
            steal_share=None if steal is None else round(steal, 4),
            busy_share=None if busy is None else round(busy, 4),
            drift=round(drift, 4),
            warnings=warnings,
        )

    def _shares(self) -> tuple[float | None, float | None]:
        """Return the shares of the hypervisor's other guests and of other processes; None where unknown."""
        now = read_processor_time(self._process, self._root)
        if now is None or self._before is None:
            return None, None
        grown = now.since(self._before)
        if grown.total < _LEAST_TICKS:
            return None, None
        # The kernel samples one of the two counters and measures the other, so that the difference can be below 0.
        return max(grown.steal, 0) / grown.total, max(grown.busy - grown.own, 0) / grown.total


def round_drift(rounds_ms: Sequence[Sequence[float]]) -> float | None:
    """Return the largest over the smallest median of a round; None with fewer than two rounds, or times of 0.

    Args:
        rounds_ms: Times of calls by round, milliseconds.
    """
    medians = [median(times) for times in rounds_ms if times]
    if len(medians) < 2 or min(medians) <= 0:
        return None
    return max(medians) / min(medians)


def call_spread(rounds_ms: Sequence[Sequence[float]]) -> float | None:
    """Return the interquartile range of the calls, each relative to its round's median; None for fewer than 20 calls.

    Args:
        rounds_ms: Times of calls by round, milliseconds.
    """
    relative = [time / middle for times in rounds_ms if times and (middle := median(times)) > 0 for time in times]
    if len(relative) < _CALLS_FOR_SPREAD:
        return None
    low, high = np.quantile(relative, (0.25, 0.75))
    return float(high - low)


def _share_warnings(steal: float | None, busy: float | None) -> list[str]:
    found = []
    if steal is not None and steal > STEAL_SHARE:
        found.append(
            f"The hypervisor gave {steal:.1%} of the cores' time to other virtual machines, so medians may be "
            "right while p99 and max are not: measure on a dedicated machine, or again at a quieter time."
        )
    if busy is not None and busy > BUSY_SHARE:
        found.append(
            f"Other processes took {busy:.1%} of the cores' time: stop them (`top` shows them) and measure again."
        )
    return found


def _load_warnings(load: float, busy: float | None) -> list[str]:
    """Speak of the load before only where the share of others meanwhile, which matters more, is unknown."""
    if busy is not None or load <= LOAD_PER_CORE * usable_cores():
        return []
    return [
        f"A mean of {load:.1f} processes wanted a core in the minute before, and how much other processes took "
        "during the measurement is unknown: wait until the machine is idle and measure again."
    ]


def _quota_warnings(stops: int) -> list[str]:
    if stops <= 0:
        return []
    return [
        f"The container's CPU quota stopped the measurement in {stops:,} of its periods, which lengthens single calls "
        "by up to 100 ms: raise the quota, or run with no more threads than it allows."
    ]


def _drift_warnings(drifts: dict[str, float], governor: str) -> list[str]:
    if not drifts:
        return ["No subject has two rounds, so a drift of the machine cannot be seen: measure with more runs."]
    steadiest = min(drifts.values())
    if steadiest > DRIFT:
        advice = "let it cool down and stop other work"
        if governor not in ("", "performance"):
            advice = f"set the frequency governor to `performance` (it is `{governor}`), {advice}"
        return [
            f"The machine drifted: even the steadiest subject's round medians differ by a factor of {steadiest:.2f}. "
            f"Ratios between subjects hold, milliseconds do not: {advice}, and measure again."
        ]
    unsteady = [f"{name} ({drift:.2f})" for name, drift in drifts.items() if drift > SUBJECT_DRIFT]
    if not unsteady:
        return []
    return [
        f"Round medians of some subjects differ by a large factor while others were steady: {', '.join(unsteady)}. "
        "Measure them again, with more runs."
    ]


def _spread_warnings(measured: Iterable[Measured]) -> list[str]:
    spreads = [value for each in measured if (value := call_spread(each.rounds_ms)) is not None]
    if not spreads or min(spreads) <= SPREAD:
        return []
    return [
        f"Calls vary much: even the steadiest subject's quartiles lie {min(spreads):.0%} of its median apart. "
        "Compare intervals rather than medians, and measure more runs or on a quieter machine."
    ]


def _gpu_warnings(gpus: Iterable[Gpu]) -> list[str]:
    return [
        f"The GPU {gpu.name} was slowed down ({gpu.throttling}): improve its cooling or power supply, or lock its "
        "clock to one that it can hold (`nvidia-smi --lock-gpu-clocks`), and measure again."
        for gpu in gpus
        if gpu.throttling
    ]
