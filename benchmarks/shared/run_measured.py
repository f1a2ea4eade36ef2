"""One process of a benchmark, run to its end, and what it took."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MEASURE = Path(__file__).with_name("measure_process.py")


@dataclass(frozen=True)
class Usage:
    """What a process took, as the kernel counts it.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time of all its threads, in the program and in the kernel.
        peak_mb: Peak resident memory.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def read_usage(result: Path) -> Usage:
    """Return what `measure_process.py` wrote."""
    found = json.loads(result.read_text(encoding="utf-8"))
    return Usage(found["seconds"], found["cpu_seconds"], found["peak_mb"])


def run_measured(command: Sequence[str], *, log: Path, folder: Path | None = None) -> Usage:
    """Run a command to its end and return what it took.

    Args:
        command: The program and its arguments.
        log: File that gets what it prints; what it took is kept beside it.
        folder: Folder that it runs in; None for the current one.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    result = log.with_suffix(".usage.json")
    with log.open("w") as file:
        measured = [sys.executable, str(MEASURE), str(result), *command]
        done = subprocess.run(measured, stdout=file, stderr=subprocess.STDOUT, check=False, cwd=folder)
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{said}")
    return read_usage(result)
