"""The result of a benchmark: the schema of `bench.json`.

Times are milliseconds, rates images per second, shares fractions. JSON has no NaN and no infinity: what was not
measured, or cannot be told from so few runs, is null.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.bundle.manifest import Licence

RESULT_VERSION: Literal[1] = 1
# What is inside the timer. `model`: the engine's call, input in place. `copies`: with the copies between host and
# device (on a CPU the same as `model`). `end-to-end`: an image file's bytes to outputs, decoding and preprocessing too.
Scope = Literal["model", "copies", "end-to-end"]


class _Part(BaseModel):
    """A frozen part of the result; no NaN, no infinity, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Gpu(_Part):
    """A GPU, and its state where it can be read.

    Attributes:
        name: Name that the driver gives.
        compute_capability: Version of its instructions, such as `8.0`.
        memory_mb: Memory of the GPU.
        clock_mhz: Clock of the multiprocessors; None where it cannot be read.
        max_clock_mhz: Highest such clock; None where it cannot be read.
        temperature_c: Temperature; None where it cannot be read.
        throttling: Why its clock is held down, in words; empty where it is not, or cannot be read.
    """

    name: str
    compute_capability: str
    memory_mb: int
    clock_mhz: int | None = None
    max_clock_mhz: int | None = None
    temperature_c: int | None = None
    throttling: str = ""


class Machine(_Part):
    """What a result was measured on.

    Attributes:
        cpu: The processor's model.
        instructions: Instruction sets that matter, by Linux's names.
        cores: Cores that the process may run on.
        governor: Frequency governor, or "" where it cannot be read.
        memory_gb: Main memory.
        virtual: Hypervisor, or "" for none that is known.
        platform: Operating system and processor, for example `linux-x86_64`.
        gpus: The GPUs.
        driver: Newest CUDA version of the driver, or "".
        python: Version of Python.
        versions: Versions of the packages that the figures depend on.
        commit: Commit of this project where it runs from a checkout, with `+` where files differ; else "".
    """

    cpu: str
    instructions: tuple[str, ...]
    cores: int
    governor: str
    memory_gb: float
    virtual: str
    platform: str
    gpus: tuple[Gpu, ...]
    driver: str
    python: str
    versions: dict[str, str]
    commit: str

    @property
    def hardware(self) -> tuple[str, ...]:
        """What must be equal for two results to be comparable: processor, cores and GPUs."""
        return (self.cpu, f"{self.cores} cores", *(gpu.name for gpu in self.gpus))


class Noise(_Part):
    """How quiet the machine was.

    Attributes:
        load_before: Processes that wanted a core in the minute before.
        steal_share: Share of the cores' time that the hypervisor gave to others meanwhile; None where unknown.
        busy_share: Share that other processes of this machine took; None where unknown.
        drift: Largest over smallest round median of the steadiest subject.
        warnings: What a reader must know, in sentences; empty on a quiet machine.
    """

    load_before: float
    steal_share: float | None
    busy_share: float | None
    drift: float
    warnings: tuple[str, ...] = ()


class Interval(_Part):
    """A 95 % confidence interval, in the unit of the figure that it belongs to.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


class Latency(_Part):
    """How long one call takes, milliseconds.

    Attributes:
        runs: Calls that count.
        median_ms: Median of the calls.
        median_ci95: Bootstrap interval of the median.
        mean_ms: Mean of the calls.
        mean_ci95: Interval of the mean.
        min_ms: The fastest call.
        max_ms: The slowest.
        p90_ms: 90th percentile. None where there are too few runs for it.
        p95_ms: 95th percentile, likewise.
        p99_ms: 99th percentile, likewise.
        p99_ci95: Interval of the 99th percentile; None where there is no such percentile.
    """

    runs: int = Field(ge=1)
    median_ms: float
    median_ci95: Interval
    mean_ms: float
    mean_ci95: Interval
    min_ms: float
    max_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p99_ci95: Interval | None


class Measured(_Part):
    """One thing that was timed.

    Attributes:
        name: Unique in the result, such as `digits-int8 openvino batch 1`.
        kind: `bundle`, or `peer`: another program or library on the same network.
        bundle: The bundle's path as given; for a peer, the one whose network it runs.
        engine: `tensorrt`, `openvino`, `onnxruntime`, `pytorch`, or the peer's name.
        precision: What it really executed.
        batch: Images per call.
        threads: Threads for one call; None where the engine chose.
        scope: What is inside the timer.
        latency: Latency of one call of `batch` images.
        images_per_s: batch / mean.
        load_ms: Time from the bundle's path to an engine that can be called; None where a peer does not say.
        first_ms: The first call after it.
        peak_memory_mb: Largest resident memory of the process; None where a peer does not say.
        rounds_ms: Every call that counts, by round; rounds of all subjects with one index are neighbours in time.
        notes: What a reader must know.
    """

    name: str
    kind: Literal["bundle", "peer"]
    bundle: str
    engine: str
    precision: str
    batch: int = Field(ge=1)
    threads: int | None
    scope: Scope
    latency: Latency
    images_per_s: float
    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None
    rounds_ms: tuple[tuple[float, ...], ...]
    notes: tuple[str, ...] = ()


class LayerTime(_Part):
    """One layer of a network in one engine.

    Attributes:
        name: The engine's name for it, several nodes where they are fused.
        operator: ONNX operator or the engine's layer type.
        macs: Multiply-accumulates for the whole batch.
        moved_bytes: Weights read, activations read and written, for the whole batch.
        precision: What it computes in; `unknown` where the engine does not say.
        ms: Median time.
        bound_ms: Least time that the machine's attainable rates allow; None where they were not probed.
    """

    name: str
    operator: str
    macs: int
    moved_bytes: int
    precision: str
    ms: float
    bound_ms: float | None


class Limit(_Part):
    """How far something is from what the machine can do (roofline).

    Attributes:
        name: Name of the `Measured`.
        gmacs_per_s: Attainable rate of a large matrix product in this engine and precision, 1e9 MACs/s.
        gb_per_s: Attainable rate of a large copy in this engine, 1e9 bytes/s.
        bound_ms: Sum over layers of max(macs / rate, bytes / rate).
        share: bound_ms / median latency: 1 is the limit itself.
        layers: Layers by time, largest first.
        findings: What limits it, in sentences.
    """

    name: str
    gmacs_per_s: float
    gb_per_s: float
    bound_ms: float
    share: float
    layers: tuple[LayerTime, ...]
    findings: tuple[str, ...] = ()


class BatchChoice(_Part):
    """The batch to choose for a latency budget.

    Attributes:
        budget_ms: The budget for the p99 of one call, or its median where there are too few runs for a p99.
        bundle: The bundle.
        engine: The engine.
        precision: What it executes.
        batch: Largest images per second within the budget; None where no batch is within it.
        images_per_s: Throughput at that batch.
        text: The choice in words.
    """

    budget_ms: float
    bundle: str
    engine: str
    precision: str
    batch: int | None
    images_per_s: float | None
    text: str


class BenchResult(_Part):
    """All of `bench.json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        started_at: UTC, such as `2026-11-24T12:00:00Z`.
        seconds: Wall time of all of it.
        machine: What it was measured on.
        noise: How quiet that was.
        scope: What is inside the timers.
        seed: Seed of the bootstrap.
        model: The network's name.
        licence: The weights' licence.
        measured: One per subject.
        absent: Peers that were asked for and are not installed here, with the reason.
        limits: Roofline of the bundles' engines, where probed.
        choices: Batch per bundle and engine for `--budget-ms`.
        commands: The same with benchmark_app and trtexec, as command lines, by the name of the `Measured`.
    """

    schema_version: Literal[1] = RESULT_VERSION
    started_at: str
    seconds: float
    machine: Machine
    noise: Noise
    scope: Scope
    seed: int
    model: str
    licence: Licence
    measured: tuple[Measured, ...]
    absent: dict[str, str] = {}
    limits: tuple[Limit, ...] = ()
    choices: tuple[BatchChoice, ...] = ()
    commands: dict[str, tuple[str, ...]] = {}
