"""The measuring process of one subject: `python -m runtime.bench.worker`, started by `runtime/bench/turns.py`.

One engine per process: two in one process disturb each other by threads that spin and caches that they share. The
process reads its `Subject`, then commands, one JSON object a line, and answers each with one line:

    {"warm": S}                 run until calls are steady, at most S seconds   {"calls": N}
    {"runs": N, "seconds": S}   at least N calls, and calls for S seconds       {"times_ms": [...], "peak_memory_mb": M}

It ends at the end of its input. While it waits it uses no core.
"""

import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.bench.runners import Runner, open_runner
from runtime.bench.subjects import Subject
from runtime.errors import ExportSslError

# Calls of two windows that must agree before the warm-up is over, and how well.
_WINDOW, _STEADY = 8, 0.05
_MS_PER_NS = 1e-6


def warm_up(runner: Runner, seconds: float) -> int:
    """Call until two windows of calls have the same median within 5 %, or time is up; return the number of calls."""
    end = time.perf_counter() + seconds
    times: list[float] = []
    while time.perf_counter() < end or len(times) < 2:
        times.append(timed(runner))
        if len(times) >= 2 * _WINDOW:
            earlier, later = times[-2 * _WINDOW : -_WINDOW], times[-_WINDOW:]
            if abs(statistics.median(later) / statistics.median(earlier) - 1) < _STEADY:
                break
    return len(times)


def timed(runner: Runner) -> float:
    """Return how long one call takes, milliseconds."""
    if runner.call_timed is not None:
        return runner.call_timed()
    began = time.perf_counter_ns()
    runner.call()
    return (time.perf_counter_ns() - began) * _MS_PER_NS


def run(runner: Runner, *, runs: int, seconds: float) -> list[float]:
    """Return the times of at least `runs` calls, and of as many as fit `seconds`, milliseconds."""
    end = time.perf_counter() + seconds
    times: list[float] = []
    while len(times) < runs or time.perf_counter() < end:
        times.append(timed(runner))
    return times


def peak_memory_mb() -> float | None:
    """Return the largest resident memory of this process so far, MB, or None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    # Not `ru_maxrss`: that of a child begins at its parent's peak.
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) * 1024 / 1e6 if line else None


def serve(subject: Subject, commands: Any, answer: Callable[[dict[str, object]], None]) -> None:
    """Open the subject and obey until the commands end.

    Raises:
        ExportSslError: The subject cannot be opened or called.
    """
    began = time.perf_counter()
    with open_runner(subject) as runner:
        loaded = time.perf_counter()
        first_ms = timed(runner)
        answer({"load_ms": 1e3 * (loaded - began), "first_ms": first_ms, "precision": runner.precision,
                "notes": list(runner.notes)})  # fmt: skip
        for line in commands:
            command = json.loads(line)
            if "warm" in command:
                answer({"calls": warm_up(runner, command["warm"])})
            else:
                times = run(runner, runs=command["runs"], seconds=command["seconds"])
                answer({"times_ms": times, "peak_memory_mb": peak_memory_mb()})


def main() -> None:
    """Serve one subject."""
    # Ctrl-C is the parent's to hear: it closes this process's input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries may print to stdout: the answers get a descriptor of their own, and stdout goes to stderr.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(content: dict[str, object]) -> None:
        output.write(json.dumps(content) + "\n")
        output.flush()

    subject = Subject.model_validate_json(sys.stdin.readline())
    try:
        serve(subject, sys.stdin, answer)
    except ExportSslError as error:
        answer({"error": " ".join(str(error).split()), "kind": type(error).__name__})
    output.close()
    sys.stdout.flush()
    # Engines' threads take up to a second to end, and their destructors are where they crash.
    os._exit(0)


if __name__ == "__main__":
    main()
