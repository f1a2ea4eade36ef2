"""Call our callbacks through the real bindings, as TensorRT does, and print what arrived as JSON.

`trt.ILogger.log(logger, ...)` is the C++ method: it converts its arguments, and then calls the Python override.
"""

import json
import sys

from runtime.engines.trt.monitor import make_logger, make_monitor, make_profiler

ARRIVED: list[list[object]] = []


class Progress:
    """Writes down what it is told, and stops at the third step."""

    def phase_started(self, name: str, parent: str, steps: int) -> None:
        ARRIVED.append(["phase_started", name, parent, steps])

    def step_done(self, phase: str, step: int) -> bool:
        ARRIVED.append(["step_done", phase, step])
        return step < 2

    def phase_finished(self, name: str) -> None:
        ARRIVED.append(["phase_finished", name])


def call_logger() -> None:
    import tensorrt as trt

    for verbose in (False, True):
        logger = make_logger(lambda level, message: ARRIVED.append([level, message]), verbose=verbose)
        for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
            trt.ILogger.log(logger, getattr(trt.ILogger.Severity, severity), f"{severity} Größe")


def call_monitor() -> None:
    import tensorrt as trt

    monitor = make_monitor(Progress())
    trt.IProgressMonitor.phase_start(monitor, "Building Engine", None, 3)
    trt.IProgressMonitor.phase_start(monitor, "Timing", "Building Engine", 1)
    for step in range(3):
        ARRIVED.append([trt.IProgressMonitor.step_complete(monitor, "Timing", step)])
    trt.IProgressMonitor.phase_finish(monitor, "Timing")


def call_profiler() -> None:
    import tensorrt as trt

    profiler = make_profiler(lambda layer, ms: ARRIVED.append([layer, ms]))
    trt.IProfiler.report_layer_time(profiler, "layer1.0.conv1 + layer1.0.act1", 0.25)


def call_broken() -> None:
    """Print the answer to a step whose sink raises what Ctrl-C raises, to see that the process is still there."""
    import tensorrt as trt

    def interrupt(level: str, message: str) -> None:
        raise KeyboardInterrupt(f"{level} {message}")

    class Interrupted(Progress):
        def step_done(self, phase: str, step: int) -> bool:
            raise KeyboardInterrupt(f"{phase} {step}")

    trt.ILogger.log(make_logger(interrupt), trt.ILogger.Severity.ERROR, "in the log")
    print(json.dumps([trt.IProgressMonitor.step_complete(make_monitor(Interrupted()), "Timing", 0)]))


if __name__ == "__main__":
    if sys.argv[1:] == ["broken"]:
        call_broken()
        sys.exit()
    call_logger()
    call_monitor()
    call_profiler()
    print(json.dumps(ARRIVED))
