"""Results of a benchmark with the times that a test asks for."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from runtime.bench.figures.percentiles import describe_latency
from runtime.bundle.manifest import Licence
from runtime.bundle.results.bench_json import BenchResult, Interval, Latency, Machine, Measured, Noise

LICENCE = Licence(spdx="CC0-1.0", notice="No conditions.", url="https://example.org/licence")
MACHINE = Machine(
    cpu="Example CPU 1",
    instructions=("avx2",),
    cores=2,
    governor="performance",
    memory_gb=8.0,
    virtual="",
    platform="linux-x86_64",
    gpus=(),
    driver="",
    python="3.11.0",
    versions={"openvino": "2025.4.0"},
    commit="",
)


def summary(median_ms: float, *, p99_ms: float | None, runs: int = 200) -> Latency:
    """Return a latency of which only the median, the p99 and the number of runs matter."""
    interval = Interval(low=median_ms, high=median_ms)
    return Latency(
        runs=runs,
        median_ms=median_ms,
        median_ci95=interval,
        mean_ms=median_ms,
        mean_ci95=interval,
        min_ms=median_ms,
        max_ms=median_ms,
        p90_ms=None,
        p95_ms=None,
        p99_ms=p99_ms,
        p99_ci95=None,
    )


def subject(
    name: str = "net openvino batch 1",
    rounds_ms: Sequence[Sequence[float]] | npt.NDArray[Any] = (),
    *,
    latency: Latency | None = None,
    batch: int = 1,
    engine: str = "openvino",
    precision: str = "float32",
    threads: int | None = None,
    images_per_s: float | None = None,
) -> Measured:
    """Return a subject with these times, or with a summary alone."""
    latency = latency or describe_latency(list(rounds_ms), seed=0)
    return Measured(
        name=name,
        kind="bundle",
        bundle="net",
        engine=engine,
        precision=precision,
        batch=batch,
        threads=threads,
        scope="model",
        latency=latency,
        images_per_s=images_per_s if images_per_s is not None else 1e3 * batch / latency.mean_ms,
        load_ms=1.0,
        first_ms=1.0,
        peak_memory_mb=1.0,
        rounds_ms=tuple(tuple(float(call) for call in calls) for calls in rounds_ms),
    )


def result(*measured: Measured, machine: Machine = MACHINE) -> BenchResult:
    """Return a result that holds these subjects."""
    return BenchResult(
        started_at="2026-01-01T00:00:00Z",
        seconds=1.0,
        machine=machine,
        noise=Noise(load_before=0.0, steal_share=None, busy_share=None, drift=1.0),
        scope="model",
        seed=0,
        model="net",
        licence=LICENCE,
        measured=measured,
    )
