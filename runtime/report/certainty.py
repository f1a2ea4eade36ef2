"""Whether what was timed is enough to say which of two engines is faster.

1. The lead of an engine is how many times as fast as another it is. Where both were timed in one run, in rounds,
   it has the interval of `speed_ratio`. Otherwise its interval is that of the two medians, each end at its worst, and
   for two runs it is widened by the drift that a quiet machine may have.
2. A lead is shown where the lower end of its interval is above what other work can explain. Where others took the
   share s of the cores' time, a call that needs all cores takes up to 1 / (1 - s) times as long, and one that needs a
   single core no longer at all. Calls of TensorRT wait for the GPU: between two of these nothing is explained so.
3. A lead that is not shown, of a quiet machine and within 5 % on either side, means that the two are equally fast.
4. Everything else was too noisy to decide.

Source: the limits of a quiet machine and the 5 % are those of `runtime/bench/machine/quiet.py`, with their reasons.
"""

from dataclasses import dataclass

from runtime.bench.figures.ratios import paired_ratio
from runtime.bench.machine.quiet import BUSY_SHARE, DRIFT, LOAD_PER_CORE, STEAL_SHARE
from runtime.bundle.results.bench_json import BenchResult, Interval, Measured
from runtime.errors import UsageError
from runtime.report.document import format_cell


@dataclass(frozen=True)
class Lead:
    """How many times as fast one engine is as another, and whether that is shown.

    Attributes:
        ratio: The other's time over its own.
        interval: 95 % interval of the ratio; rule 1.
        explained: The largest ratio that other work on the machine can explain, at least 1; rule 2.
        disturbances: What made the machine noisy, each with its figure and its limit; empty for a quiet one.
    """

    ratio: float
    interval: Interval
    explained: float
    disturbances: tuple[str, ...]

    @property
    def shown(self) -> bool:
        """Whether it is faster; rule 2."""
        return self.interval.low > self.explained

    @property
    def equal(self) -> bool:
        """Whether the two are equally fast; rule 3."""
        narrow = self.interval.low >= 1 / DRIFT and self.interval.high <= DRIFT
        return not self.shown and narrow and not self.disturbances


def measure_lead(slow: Measured, fast: Measured, benches: tuple[BenchResult, ...]) -> Lead:
    """Return how far `fast` is ahead of `slow`; rules 1 and 2.

    Args:
        slow: What has the longer median.
        fast: What has the shorter one.
        benches: The results that hold them.
    """
    runs = tuple(bench for bench in benches if slow in bench.measured or fast in bench.measured)
    together = any(slow in bench.measured and fast in bench.measured for bench in runs)
    ratio, interval = slow.latency.median_ms / fast.latency.median_ms, None
    if together:
        ratio, interval = speed_ratio(slow, fast)
    shares = [(bench.noise.busy_share or 0.0) + (bench.noise.steal_share or 0.0) for bench in runs]
    on_gpu = all(one.engine == "tensorrt" and one.scope != "end-to-end" for one in (slow, fast))
    # A share of 1 would explain anything.
    others = 0.0 if on_gpu else min(max(shares, default=0.0), 0.999)
    return Lead(
        ratio=ratio,
        interval=interval or _of_medians(slow, fast, drift=1.0 if together else DRIFT),
        explained=1 / (1 - others),
        disturbances=tuple(dict.fromkeys(words for bench in runs for words in _disturbances(bench))),
    )


def speed_ratio(slow: Measured, fast: Measured) -> tuple[float, Interval | None]:
    """Return how many times as fast `fast` is, with a 95 % interval where there are rounds to pair.

    Without rounds, as of a program that prints a summary alone, it is the ratio of the two medians.

    Source: `runtime.bench.figures.ratios.paired_ratio`, so that the page and the terminal say the same.
    """
    try:
        paired = paired_ratio(slow, fast)
    except UsageError:
        return slow.latency.median_ms / fast.latency.median_ms, None
    return paired.ratio, paired.ratio_ci95


def format_ratio(ratio: float) -> str:
    """Return a ratio with three significant digits."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"


def _of_medians(slow: Measured, fast: Measured, *, drift: float) -> Interval:
    long, short = slow.latency.median_ci95, fast.latency.median_ci95
    return Interval(low=long.low / short.high / drift, high=long.high / short.low * drift)


def _disturbances(bench: BenchResult) -> list[str]:
    noise, found = bench.noise, []
    if noise.busy_share is not None and noise.busy_share > BUSY_SHARE:
        found.append(f"other processes took {_percent(noise.busy_share)} of the cores' time (quiet: {BUSY_SHARE:.0%})")
    if noise.steal_share is not None and noise.steal_share > STEAL_SHARE:
        found.append(f"the hypervisor took {_percent(noise.steal_share)} of the cores' time (quiet: {STEAL_SHARE:.0%})")
    if noise.busy_share is None and noise.load_before > LOAD_PER_CORE * bench.machine.cores:
        found.append(f"{noise.load_before:.1f} processes wanted one of {bench.machine.cores} cores just before")
    if noise.drift > DRIFT:
        found.append(f"rounds of even the steadiest engine differ by a factor of {noise.drift:.2f} (quiet: {DRIFT})")
    found += [f"the GPU {gpu.name} was slowed down ({gpu.throttling})" for gpu in bench.machine.gpus if gpu.throttling]
    return found


def _percent(share: float) -> str:
    return format_cell(share, "percent")
