"""What OpenVINO's benchmark_app and TensorRT's trtexec print, read.

Source: openvino/tools/benchmark/main.py of OpenVINO 2026.4; NVIDIA/TensorRT, samples/common/sampleReporting.cpp.
"""

import re
from collections import Counter
from dataclasses import dataclass

from runtime.engines.precisions import OPENVINO, compute_type
from runtime.errors import EngineError

BENCHMARK_APP = "benchmark_app"
TRTEXEC = "trtexec"
_MESSAGE_LENGTH = 300
_MS = {"ms": 1.0, "us": 1e-3}
# `Median:        1.00 ms`; microseconds where the average is below 1 ms.
_APP_LATENCY = re.compile(r"^\[ INFO \]\s+(Median|Average|Min|Max):\s+([\d.]+) (ms|us)$", re.MULTILINE)
_APP_COUNT = re.compile(r"^\[ INFO \] Count:\s+(\d+) iterations$", re.MULTILINE)
_APP_SETTING = re.compile(r"^\[ INFO \]\s+(NUM_STREAMS|INFERENCE_NUM_THREADS): (\d+)$", re.MULTILINE)
_APP_STEP = re.compile(r"^\[ INFO \] (Read model|Compile model|First inference) took ([\d.]+) ms$", re.MULTILINE)
APP_ERROR = re.compile(r"^\[ ERROR \] (.+)$", re.MULTILINE)
# In the file of -exec_graph_path: an operator and what it computes in.
_APP_LAYER = re.compile(
    r'<layer [^>]*type="(?:Convolution|FullyConnected|MatMul)"[^>]*>\s*<data [^>]*runtimePrecision="(\w+)"'
)
# The explanation of a verbose log has the same words without numbers.
_TRT_SUMMARY = re.compile(r"\[I\] GPU Compute Time: (min = .+)$", re.MULTILINE)
_TRT_NUMBER = re.compile(r"(min|max|mean|median|percentile\([\d.]+%\)) = ([\d.e+-]+) ms")
_TRT_COUNT = re.compile(r"\[I\] Timing trace has (\d+) queries")
# `v100900` is 10.9.0. Before 10 the digits were others.
_TRT_VERSION = re.compile(r"\[TensorRT v(\d+)(\d\d)(\d\d)\]")
_TRT_WARNING = re.compile(r"\[W\] \* (.+)$", re.MULTILINE)
TRT_ERROR = re.compile(r"\[E\] (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class ProgramTimes:
    """What a program measured of its own calls, milliseconds.

    Attributes:
        program: `benchmark_app` or `trtexec`.
        command: The command line, as for a shell.
        runs: Calls.
        median_ms: Median that the program printed.
        mean_ms: Mean that the program printed.
        min_ms: The fastest.
        max_ms: The slowest.
        p90_ms: 90th percentile; likewise p95 and p99. None where the program prints none.
        load_ms: Reading and compiling; None where it does not say.
        first_ms: The first call; None where it does not say.
        threads: Threads that it ran one call with; None where it does not say.
        notes: What a reader must know.
    """

    program: str
    command: str
    runs: int
    median_ms: float
    mean_ms: float
    min_ms: float
    max_ms: float
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    threads: int | None = None
    notes: tuple[str, ...] = ()


def parse_benchmark_app(text: str, *, command: str) -> ProgramTimes:
    """Return what benchmark_app printed.

    Args:
        text: Output of the program.
        command: The command line that it is of.

    Raises:
        EngineError: A number is not in it.
    """
    times = {name: (float(value) * _MS[unit], unit) for name, value, unit in _APP_LATENCY.findall(text)}
    count = _APP_COUNT.search(text)
    if count is None or not {"Median", "Average", "Min", "Max"} <= times.keys():
        raise _unread(BENCHMARK_APP, text)
    settings = {name: int(value) for name, value in _APP_SETTING.findall(text)}
    steps = {name: float(value) for name, value in _APP_STEP.findall(text)}
    median, unit = times["Median"]
    notes = []
    if unit == "ms":
        # It keeps two decimals, and where the average is below 1 ms those of a microsecond.
        notes.append("benchmark_app prints its times in steps of 0.01 ms")
    streams = settings.get("NUM_STREAMS", 1)
    if streams != 1:
        notes.append(f"benchmark_app's latency hint chose {streams} streams, the engine here has 1")
    return ProgramTimes(
        program=BENCHMARK_APP,
        command=command,
        runs=int(count[1]),
        median_ms=median,
        mean_ms=times["Average"][0],
        min_ms=times["Min"][0],
        max_ms=times["Max"][0],
        load_ms=steps["Read model"] + steps["Compile model"] if len(steps.keys() - {"First inference"}) == 2 else None,
        first_ms=steps.get("First inference"),
        threads=settings.get("INFERENCE_NUM_THREADS"),
        notes=tuple(notes),
    )


def parse_execution_graph(text: str) -> str:
    """Return the type that most convolutions compute in, by the file that benchmark_app writes, or `unknown`."""
    types = Counter(compute_type(OPENVINO, found) for found in _APP_LAYER.findall(text))
    return types.most_common(1)[0][0] if types else "unknown"


def parse_trtexec(text: str, *, command: str) -> ProgramTimes:
    """Return what trtexec printed, of 8.x to 11.x: the kernels' time on the GPU, without copies.

    Args:
        text: Output of the program.
        command: The command line that it is of.

    Raises:
        EngineError: A number is not in it.
    """
    summaries, count = _TRT_SUMMARY.findall(text), _TRT_COUNT.search(text)
    times = {name: float(value) for name, value in _TRT_NUMBER.findall(summaries[-1])} if summaries else {}
    if count is None or not {"min", "max", "mean", "median"} <= times.keys():
        raise _unread(TRTEXEC, text)
    version = _TRT_VERSION.search(text)
    notes = [] if version is None else [f"trtexec of TensorRT {'.'.join(str(int(part)) for part in version.groups())}"]
    notes += [f"trtexec warns: {warning.strip()}" for warning in _TRT_WARNING.findall(text)]
    return ProgramTimes(
        program=TRTEXEC,
        command=command,
        runs=int(count[1]),
        median_ms=times["median"],
        mean_ms=times["mean"],
        min_ms=times["min"],
        max_ms=times["max"],
        p90_ms=times.get("percentile(90%)"),
        p95_ms=times.get("percentile(95%)"),
        p99_ms=times.get("percentile(99%)"),
        notes=tuple(notes),
    )


def _unread(program: str, text: str) -> EngineError:
    return EngineError(
        f"{program} printed no summary that this version reads (it ended with: {last_words(text)}): "
        "report it with the program's version"
    )


def last_words(text: str) -> str:
    """Return the last line of a program's output, on one line and not too long."""
    flat = " ".join((text.strip().splitlines() or ["nothing"])[-1].split())
    return flat if len(flat) <= _MESSAGE_LENGTH else flat[:_MESSAGE_LENGTH] + "…"
