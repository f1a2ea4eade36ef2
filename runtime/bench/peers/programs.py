"""OpenVINO's benchmark_app and TensorRT's trtexec on a bundle: their command lines, and running them.

Each runs as a process of its own, with random input in place: what is inside its timer is the call alone.
benchmark_app compiles the bundle's graph as `runtime.engines.openvino_engine` does, with one stream and a dynamic
batch. trtexec times the bundle's own plan.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.bench.peers.printed import (
    APP_ERROR,
    BENCHMARK_APP,
    TRT_ERROR,
    TRTEXEC,
    ProgramTimes,
    last_words,
    parse_benchmark_app,
    parse_execution_graph,
    parse_trtexec,
)
from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import MODEL_FILE, PLAN_FILE
from runtime.bundle.manifest import TensorSpec
from runtime.bundle.plan_json import Sidecar, read_sidecar
from runtime.engines.contract import ExecutionPrecision, describe_precision
from runtime.errors import EngineError, UsageError
from runtime.support.temporary import temporary_folder

INSTALL = {
    BENCHMARK_APP: "pip install openvino, which has it",
    TRTEXEC: "it comes with NVIDIA's TensorRT archives, packages and containers, not with pip",
}
# Beyond the seconds that it measures: reading, compiling and the first call of the largest network on a slow machine.
_PATIENCE_S = 300.0
_HINTS: dict[ExecutionPrecision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def find_program(name: str) -> Path | None:
    """Return where a program is: beside this Python, or on PATH; None where it is in neither."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(name)
    return Path(found) if found else None


def benchmark_app_command(
    bundle: Path,
    network_input: TensorSpec,
    *,
    batch: int,
    threads: int | None,
    seconds: float,
    precision: ExecutionPrecision = "fp32",
) -> tuple[str, ...]:
    """Return benchmark_app's command line for what `runtime.engines.openvino_engine` does with a bundle.

    Args:
        bundle: The bundle's directory.
        network_input: The network's input.
        batch: Images per call. A dynamic batch stays dynamic, as in the engine.
        threads: Threads for one call; None leaves OpenVINO's choice.
        seconds: How long it measures, rounded to whole seconds, at least 1.
        precision: Execution precision.
    """
    words = [BENCHMARK_APP, "-m", str(bundle / MODEL_FILE), "-d", "CPU", "-api", "sync", "-inference_only"]
    # It refuses the latency hint beside a number of threads or streams. Without a hint OpenVINO's own is latency, and
    # one stream is what latency means: the settings that it prints are the same.
    words += ["-hint", "latency"] if threads is None else ["-hint", "none", "-nstreams", "1", "-nthreads", str(threads)]
    words += ["-infer_precision", _HINTS[precision]]
    if network_input.fixed_batch is None:
        # It ignores shapes for a graph whose batch is fixed, with a warning.
        shape = ",".join(str(size) for size in (batch, *network_input.shape[1:]))
        words += ["-data_shape", f"{network_input.name}[{shape}]"]
    return (*words, "-t", f"{max(1, round(seconds))}")


def run_benchmark_app(bundle: Bundle, *, batch: int, threads: int | None, seconds: float) -> ProgramTimes:
    """Return what benchmark_app measures on a bundle's graph.

    Args:
        bundle: An opened bundle.
        batch: Images per call.
        threads: Threads for one call; None leaves OpenVINO's choice.
        seconds: How long it measures.

    Raises:
        EngineError: The program is not installed, fails, or prints something else.
    """
    command = benchmark_app_command(bundle.path, bundle.manifest.input, batch=batch, threads=threads, seconds=seconds)
    text = _run(command, patience_s=seconds + _PATIENCE_S, errors=APP_ERROR)
    return parse_benchmark_app(text, command=shlex.join(command))


def benchmark_app_precision(bundle: Bundle) -> str:
    """Return what benchmark_app executes on a bundle, in words, by the graph that it writes after a single call.

    Writing it switches layer times on, so this is no run that counts.

    Raises:
        EngineError: The program is not installed, or fails.
    """
    command = benchmark_app_command(bundle.path, bundle.manifest.input, batch=1, threads=None, seconds=1)
    with temporary_folder() as folder:
        graph = folder / "graph.xml"
        # The last two words are the time that it measures for.
        once = (*command[:-2], "-niter", "1", "-exec_graph_path", str(graph))
        _run(once, patience_s=_PATIENCE_S, errors=APP_ERROR)
        try:
            executed = parse_execution_graph(graph.read_text(encoding="utf-8"))
        except FileNotFoundError:
            executed = "unknown"
    return describe_precision(bundle.manifest.precision.name, executed)


def trtexec_timing_command(
    bundle: Path, network_input: TensorSpec, sidecar: Sidecar, *, batch: int, seconds: float
) -> tuple[str, ...]:
    """Return trtexec's command line that times a bundle's plan, input and output on the GPU.

    Args:
        bundle: The bundle's directory.
        network_input: The network's input.
        sidecar: What the plan is.
        batch: Images per call, within the plan's profile.
        seconds: How long it measures, rounded to whole seconds, at least 1.
    """
    words = [TRTEXEC, f"--loadEngine={bundle / PLAN_FILE}"]
    if network_input.fixed_batch is None:
        shape = "x".join(str(size) for size in (batch, *network_input.shape[1:]))
        words.append(f"--shapes={network_input.name}:{shape}")
    if sidecar.options.version_compatible:
        # Such a plan holds code of the host's, which this allows.
        words.append("--versionCompatible")
    if trt_major(sidecar) < 11:
        # 11's defaults; see runtime.plans.trtexec.
        words += ["--useCudaGraph", "--useSpinWait", "--noDataTransfers"]
    return (*words, "--warmUp=200", f"--duration={max(1, round(seconds))}")


def run_trtexec(bundle: Bundle, *, batch: int, seconds: float) -> ProgramTimes:
    """Return what trtexec measures of a bundle's plan: the kernels' time on the GPU, without copies.

    Args:
        bundle: An opened bundle with a plan.
        batch: Images per call.
        seconds: How long it measures.

    Raises:
        UsageError: The batch is outside the plan's profile.
        BundleError: The bundle has no plan that is described.
        EngineError: trtexec is not on PATH, fails, or prints something else.
    """
    sidecar = read_sidecar(bundle.path)
    profile = sidecar.options.profile
    if not profile.min <= batch <= profile.max:
        raise UsageError(
            f"batch {batch} is outside the plan's profile {profile} of {bundle.path}: pass --batch within it"
        )
    command = trtexec_timing_command(bundle.path, bundle.manifest.input, sidecar, batch=batch, seconds=seconds)
    text = _run(command, patience_s=seconds + _PATIENCE_S, errors=TRT_ERROR)
    return parse_trtexec(text, command=shlex.join(command))


def trt_major(sidecar: Sidecar) -> int:
    """Return the major version of the TensorRT that built a plan."""
    return int(sidecar.tensorrt.partition(".")[0])


def _run(command: Sequence[str], *, patience_s: float, errors: "re.Pattern[str]") -> str:
    """Return what a program prints.

    Args:
        command: Name and arguments of the program.
        patience_s: When it is ended, seconds.
        errors: What its own error lines look like.

    Raises:
        EngineError: The program does not exist, fails, or does not end.
    """
    name, whole = command[0], shlex.join(command)
    program = find_program(name)
    if program is None:
        raise EngineError(f"{name} is neither beside this Python nor on PATH: {INSTALL[name]}")
    try:
        done = subprocess.run(
            [str(program), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{name} did not finish within {patience_s:.0f} s: run `{whole}` to see where it hangs"
        ) from error
    except OSError as error:
        raise EngineError(f"{program} does not start ({error.strerror}): {INSTALL[name]}") from error
    if done.returncode:
        found = errors.search(done.stdout)
        said = last_words(found[1] if found else done.stdout)
        raise EngineError(f"{name} exited with {done.returncode} ({said}): run `{whole}` to see all of it")
    return done.stdout
