"""Which other libraries and programs run a bundle's network here, by name.

A library is opened in the measuring process by `open_peer`. A program (`PROGRAMS`) runs as a process of its own
through `run_program`.
"""

import os
import shlex
import shutil
import statistics
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from runtime.bench.figures.percentiles import describe_latency
from runtime.bench.peers.libraries import AutocastPrecision, PeerEngine, PyTorchPeer, RawOnnxRuntime, RawOpenVino
from runtime.bench.peers.printed import BENCHMARK_APP, TRTEXEC, ProgramTimes
from runtime.bench.peers.programs import (
    INSTALL,
    benchmark_app_command,
    benchmark_app_precision,
    find_program,
    run_benchmark_app,
    run_trtexec,
    trt_major,
    trtexec_timing_command,
)
from runtime.bench.subjects import Subject
from runtime.bundle.bundle import Bundle, read_manifest
from runtime.bundle.layout import MODEL_FILE, PLAN_FILE
from runtime.bundle.plan_json import read_sidecar
from runtime.bundle.results.bench_json import Latency, Measured
from runtime.engines.open_engine import TENSORRT, parse_engine
from runtime.errors import EngineError, UsageError
from runtime.plans.trtexec import trtexec_command

EAGER, COMPILED = "pytorch-eager", "pytorch-compile"
LIBRARIES = (
    *(EAGER, f"{EAGER}:bf16", f"{EAGER}:fp16"),
    *(COMPILED, f"{COMPILED}:bf16", f"{COMPILED}:fp16"),
    *(RawOnnxRuntime.name, RawOpenVino.name),
)
PROGRAMS = (BENCHMARK_APP, TRTEXEC)
PEERS = (*LIBRARIES, *PROGRAMS)
# Processes of a program, and seconds of each: a median of fewer than six figures has no 95 % interval.
TURNS, TURN_S = 6, 1.0
# trtexec's own default.
_COMMAND_S = 3.0


def open_peer(
    name: str, bundle: Bundle, *, threads: int | None = None, weights: Path | None = None, device: str = "cpu"
) -> PeerEngine:
    """Open a bundle's network in another library.

    Args:
        name: One of `LIBRARIES`.
        bundle: An opened bundle.
        threads: Threads for one inference; None leaves the library's choice.
        weights: Checkpoint of the PyTorch original; None looks for the one that the manifest names.
        device: `cpu` or `gpu`.

    Returns:
        A context manager; see `PeerEngine`.

    Raises:
        UsageError: There is no such library among the peers.
        EngineError: The library is not installed, or cannot run the network.
        CheckpointError: The original's checkpoint is absent, or another.
    """
    if name not in LIBRARIES:
        raise UsageError(f"no peer that can be opened is named {name}: expected one of {', '.join(LIBRARIES)}")
    if name == RawOnnxRuntime.name:
        return RawOnnxRuntime(bundle, threads=threads)
    if name == RawOpenVino.name:
        return RawOpenVino(bundle, threads=threads)
    kind, _, variant = name.partition(":")
    precision: AutocastPrecision = next((one for one in get_args(AutocastPrecision) if one == variant), "fp32")
    return PyTorchPeer(
        bundle, threads=threads, weights=weights, precision=precision, compiled=kind == COMPILED, device=device
    )


def missing_peers(bundle: Bundle, *, weights: Path | None = None, device: str = "cpu") -> dict[str, str]:
    """Return every peer by name with why it cannot run here, or '' where it can. Nothing is opened or fetched.

    Args:
        bundle: An opened bundle.
        weights: Checkpoint of the PyTorch original; None looks for the one that the manifest names.
        device: `cpu` or `gpu`.
    """
    original = _why_no_original(bundle, weights)
    compiler = original or _why_no_compiler(device)
    fp16 = "" if device == "gpu" else "autocast in FP16 needs a GPU; on a CPU it is bf16"
    cpu_only = "" if device == "cpu" else "it runs only on the CPU, and --device asks for another"
    return {
        EAGER: original,
        f"{EAGER}:bf16": original,
        f"{EAGER}:fp16": original or fp16,
        COMPILED: compiler,
        f"{COMPILED}:bf16": compiler,
        f"{COMPILED}:fp16": compiler or fp16,
        RawOnnxRuntime.name: cpu_only or _why_no_onnxruntime(),
        RawOpenVino.name: cpu_only or _why_no_openvino(),
        BENCHMARK_APP: cpu_only or _why_no_program(BENCHMARK_APP),
        TRTEXEC: _why_no_program(TRTEXEC) or _why_no_plan(bundle),
    }


def _why_no_original(bundle: Bundle, weights: Path | None) -> str:
    """Return why the PyTorch original cannot be loaded, or ''. A hub's weights may still have to be fetched."""
    missing = [package for package in ("torch", "timm") if find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install 'export-ssl[export]'"
    if weights is not None:
        return "" if weights.is_file() else f"the checkpoint {weights} does not exist: check --weights"
    from runtime.original.load_original import find_file

    source = bundle.manifest.weights
    if source.source == "file" and find_file(bundle) is None:
        return f"the checkpoint {source.name} is neither beside the bundle nor in the working directory: pass --weights"
    return ""


def _why_no_compiler(device: str) -> str:
    """Return why torch.compile has no backend, or ''."""
    if device == "gpu":
        return "" if find_spec("triton") else "torch.compile needs triton for a GPU: pip install triton"
    # Source: torch/_inductor/config.py, `cpp.cxx`.
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        return f"torch.compile needs a C++ compiler, and {compiler} is not on PATH"
    # What it compiles is a module of Python.
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return f"torch.compile needs Python's headers, and {headers} has no Python.h: apt-get install python3-dev"
    return ""


def _why_no_onnxruntime() -> str:
    if find_spec("onnxruntime") is None:
        return "onnxruntime not installed: pip install 'export-ssl[cpu]'"
    from runtime.engines.ort_session import import_onnxruntime

    try:
        import_onnxruntime()
    except EngineError as error:
        return str(error)
    return ""


def _why_no_openvino() -> str:
    return "" if find_spec("openvino") else "openvino not installed: pip install 'export-ssl[cpu]'"


def _why_no_program(name: str) -> str:
    return "" if find_program(name) else f"neither beside this Python nor on PATH: {INSTALL[name]}"


def _why_no_plan(bundle: Bundle) -> str:
    has = (bundle.path / PLAN_FILE).is_file()
    return "" if has else f"the bundle has no plan: build one with `run-ssl build {bundle.path}`"


def run_program(
    subject: Subject, bundle: Bundle, *, seed: int, turns: int = TURNS, seconds: float = TURN_S
) -> Measured:
    """Return what benchmark_app or trtexec measures on a bundle, in several processes one after the other.

    A program prints the median of its calls and not the calls: `rounds_ms` holds one median per process, and the
    intervals are over those.

    Args:
        subject: What to measure; its engine is one of `PROGRAMS`.
        bundle: Opened bundle of the subject.
        seed: Seed of the bootstrap.
        turns: Processes, at least 6.
        seconds: How long each measures.

    Raises:
        UsageError: No such program, the batch is outside the plan's profile, or there are too few turns.
        EngineError: The program is not installed, or fails.
        BundleError: trtexec is asked for and the bundle has no plan.
    """
    run, precision = _program(subject, bundle)
    times = [run(seconds) for _ in range(turns)]
    latency = _describe(times, seed=seed)
    loads = [one.load_ms for one in times if one.load_ms is not None]
    firsts = [one.first_ms for one in times if one.first_ms is not None]
    lengths = f"{turns} processes of {max(1, round(seconds))} s"
    notes = [f"{lengths}, after the others and not in turn with them; its rounds are the processes' medians"]
    notes += dict.fromkeys(note for one in times for note in one.notes)
    return Measured(
        name=subject.name,
        kind="peer",
        bundle=str(subject.bundle),
        engine=subject.engine,
        precision=precision,
        batch=subject.batch,
        threads=subject.threads,
        scope="model",
        latency=latency,
        images_per_s=1e3 * subject.batch / latency.mean_ms,
        load_ms=statistics.median(loads) if loads else None,
        first_ms=statistics.median(firsts) if firsts else None,
        peak_memory_mb=None,
        rounds_ms=tuple((one.median_ms,) for one in times),
        notes=tuple(notes),
    )


def _program(subject: Subject, bundle: Bundle) -> tuple[Callable[[float], ProgramTimes], str]:
    """Return one run of a program by its seconds, and what it executes, in words."""
    batch, threads = subject.batch, subject.threads
    if subject.engine == BENCHMARK_APP:
        precision = benchmark_app_precision(bundle)
        return lambda seconds: run_benchmark_app(bundle, batch=batch, threads=threads, seconds=seconds), precision
    if subject.engine == TRTEXEC:
        from runtime.engines.trt.trt_engine import describe_plan

        precision = describe_plan(read_sidecar(bundle.path))
        return lambda seconds: run_trtexec(bundle, batch=batch, seconds=seconds), precision
    raise UsageError(f"no program is named {subject.engine}: expected {' or '.join(PROGRAMS)}")


def _describe(times: list[ProgramTimes], *, seed: int) -> Latency:
    """Return the latency of a program's processes."""
    medians = describe_latency([(one.median_ms,) for one in times], seed=seed)
    means = describe_latency([(one.mean_ms,) for one in times], seed=seed)

    def typical(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if len(known) == len(values) else None

    return Latency(
        runs=sum(one.runs for one in times),
        median_ms=medians.median_ms,
        median_ci95=medians.median_ci95,
        mean_ms=means.mean_ms,
        mean_ci95=means.mean_ci95,
        min_ms=min(one.min_ms for one in times),
        max_ms=max(one.max_ms for one in times),
        # Each of a whole process: thousands of calls, of which the program alone knows.
        p90_ms=typical([one.p90_ms for one in times]),
        p95_ms=typical([one.p95_ms for one in times]),
        p99_ms=typical([one.p99_ms for one in times]),
        p99_ci95=None,
    )


def equivalent_commands(subject: Subject | Measured) -> tuple[str, ...]:
    """Return the command lines of benchmark_app or trtexec that measure the same, as for a shell.

    For TensorRT there are two: one builds the same plan, and one times it at this batch. onnxruntime and PyTorch have
    no such program, nor has a measurement from files.

    Args:
        subject: What is or was measured, of a bundle that is still there.

    Raises:
        BundleError: The bundle has no manifest, or no plan that is described.
    """
    if subject.scope == "end-to-end":
        return ()
    bundle, choice = Path(subject.bundle), parse_engine(subject.engine)
    if choice.name in ("openvino", RawOpenVino.name, BENCHMARK_APP):
        command = benchmark_app_command(
            bundle,
            read_manifest(bundle).input,
            batch=subject.batch,
            threads=subject.threads,
            seconds=_COMMAND_S,
            precision=choice.precision or "fp32",
        )
        return (shlex.join(command),)
    if choice.name not in (TENSORRT, TRTEXEC):
        return ()
    network_input, sidecar = read_manifest(bundle).input, read_sidecar(bundle)
    build = trtexec_command(bundle / MODEL_FILE, network_input, sidecar.options, major=trt_major(sidecar))
    timing = trtexec_timing_command(bundle, network_input, sidecar, batch=subject.batch, seconds=_COMMAND_S)
    return (build, shlex.join(timing))
