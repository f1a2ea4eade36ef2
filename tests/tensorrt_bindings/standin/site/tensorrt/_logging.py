"""Loggers, and the interfaces that Python derives from: progress monitor, profiler, error recorder."""

import sys
import time
from typing import Any

from tensorrt._interface import State, enum


class LoggerBase(State):
    """ILogger: `log` is abstract, so a class that does not override it cannot be used."""

    interface = "ILogger"

    def log(self, severity: Any, msg: str) -> None:  # noqa: ARG002
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


class LoggerState(State):
    """Logger: prints what is at least as severe as `min_severity` on stderr."""

    interface = "Logger"

    def __init__(self, min_severity: Any):
        self.min_severity = min_severity

    def log(self, severity: Any, msg: str) -> None:
        if int(severity) <= int(self.min_severity):
            letter = {0: "F", 1: "E", 2: "W", 3: "I", 4: "V"}[int(severity)]
            print(time.strftime("[%m/%d/%Y-%H:%M:%S]"), "[TRT]", f"[{letter}]", msg, file=sys.stderr)


class MonitorState(State):
    """IProgressMonitor: all three methods are abstract."""

    interface = "IProgressMonitor"

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:  # noqa: ARG002
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phaseStart"')

    def phase_finish(self, phase_name: str) -> None:  # noqa: ARG002
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phaseFinish"')

    def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::stepComplete"')


class ProfilerState(State):
    """IProfiler: its method is abstract."""

    interface = "IProfiler"

    def report_layer_time(self, layer_name: str, ms: float) -> None:  # noqa: ARG002
        raise RuntimeError('Tried to call pure virtual function "IProfiler::reportLayerTime"')


class RecorderState(State):
    """IErrorRecorder: the stand-in never calls it."""

    interface = "IErrorRecorder"
    MAX_DESC_LENGTH = 127


def log(logger: Any, severity: str, message: str) -> None:
    """Send a message to a logger object, as TensorRT does from C++."""
    logger.log(enum(f"ILogger.{severity}"), message)


STATES: dict[str, type[State]] = {
    state.interface: state for state in (LoggerBase, LoggerState, MonitorState, ProfilerState, RecorderState)
}
