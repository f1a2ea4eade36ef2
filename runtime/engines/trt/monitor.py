"""TensorRT's callbacks: its log, its progress and its layer times, as plain Python calls.

The classes are made inside functions, as their bases exist only once a library is loaded. TensorRT calls
them from C++, where an exception cannot go on: the bindings print it and drop it, Ctrl-C included. So nothing
here may depend on an exception; a build is stopped by the answer of `step_done`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from runtime.engines.trt.library import TENSORRT, Library

if TYPE_CHECKING:
    import tensorrt as trt

# Severity's name to the name of a level of Python's logging. INTERNAL_ERROR is a fault of TensorRT's own.
LEVELS = {"INTERNAL_ERROR": "CRITICAL", "ERROR": "ERROR", "WARNING": "WARNING", "INFO": "INFO", "VERBOSE": "DEBUG"}


class ProgressSink(Protocol):
    """Who is told how far a build is."""

    def phase_started(self, name: str, parent: str, steps: int) -> None:
        """A phase begins; `parent` is empty for the outermost one."""
        ...

    def step_done(self, phase: str, step: int) -> bool:
        """A step of a phase is done; False stops the build."""
        ...

    def phase_finished(self, name: str) -> None:
        """A phase is over."""
        ...


def make_logger(
    sink: Callable[[str, str], None], *, verbose: bool = False, library: Library = TENSORRT
) -> "trt.ILogger":
    """Return a logger for TensorRT that passes everything on.

    Args:
        sink: Takes a level's name of Python's logging, and a message.
        verbose: Whether VERBOSE messages are passed on too: hundreds of thousands of a build.
        library: The library that the logger is for.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    class Logger(trt.ILogger):  # type: ignore[misc,unused-ignore]
        """TensorRT's messages."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: "trt.ILogger.Severity", msg: str) -> None:
            """Pass one message on."""
            level = LEVELS.get(severity.name, "INFO")
            if verbose or level != "DEBUG":
                sink(level, msg)

    return Logger()


def make_monitor(sink: ProgressSink, *, library: Library = TENSORRT) -> "trt.IProgressMonitor":
    """Return a progress monitor for a build with a library."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,unused-ignore]
        """TensorRT's progress."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Pass on that a phase begins."""
            sink.phase_started(phase_name, parent_phase or "", num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Pass on that a step is done; the answer says whether to go on."""
            return sink.step_done(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            """Pass on that a phase is over."""
            sink.phase_finished(phase_name)

    return Monitor()


def make_profiler(sink: Callable[[str, float], None], *, library: Library = TENSORRT) -> "trt.IProfiler":
    """Return a profiler for a library that tells of each layer of each inference its name and its milliseconds."""
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = library.load()

    class Profiler(trt.IProfiler):  # type: ignore[misc,unused-ignore]
        """TensorRT's layer times."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Pass one time on."""
            sink(layer_name, ms)

    return Profiler()
