"""What a benchmark was run on, for the JSON that it writes."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[2]


class Environment(TypedDict):
    """Where the figures of a result come from.

    Attributes:
        cpu: The processor's model.
        cores: Cores that this process may run on.
        load_before: Processes that wanted a core in the minute before; on a machine at rest near 0.
        python: Version of Python.
        versions: Versions of the packages that the figures depend on.
        commit: Commit of this repository, with `+` where tracked files differ from it.
    """

    cpu: str
    cores: int
    load_before: float
    python: str
    versions: dict[str, str]
    commit: str


def describe_environment(*packages: str) -> Environment:
    """Return the environment of this process; call it before the measurement.

    Args:
        packages: Distributions whose versions are recorded beside this project's own.
    """
    return Environment(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load_before=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        versions={name: metadata.version(name) for name in ("export-ssl", *packages)},
        commit=_commit(),
    )


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    return f"{commit}+" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
