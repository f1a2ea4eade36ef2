"""The command lines in processes of their own, on the stand-in of TensorRT, and what they leave in a folder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.tensorrt_bindings.standin import standin_environment

# A build on the stand-in takes a second or two, a Ray cluster ten to start; a busy machine gets the rest.
LIMIT_S = 300.0
# As the console scripts start: the working folder is not searched for packages. A pytest in the background ignores
# SIGINT, and its children would too.
_START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:] = [folder for folder in sys.path if folder]
from {} import main
main()
"""
_MODULES = {"run-ssl": "runtime.commands.run_ssl", "export-ssl": "exporter.cli"}


@dataclass(frozen=True)
class Result:
    """What a command ended with; the names are those of typer's CliRunner."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Everything it printed."""
        return self.stdout + self.stderr


def start(
    command: str, *arguments: object, cache: Path, version: str = "10.16", cwd: Path | None = None, **env: str
) -> "subprocess.Popen[str]":
    """Start `run-ssl` or `export-ssl` as the leader of a process group.

    Args:
        command: Name of the command.
        *arguments: Arguments of the command.
        cache: XDG_CACHE_HOME of the process.
        version: TensorRT's; empty for a machine without TensorRT.
        cwd: Working directory.
        **env: More variables of its environment.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_")} | env
    if version:
        environment = standin_environment(version, **env)
    return subprocess.Popen(
        [sys.executable, "-c", _START.format(_MODULES[command]), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**environment, "XDG_CACHE_HOME": str(cache)},
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> Result:
    """Return what a command ended with; one that hangs is ended, and everything that it started."""
    try:
        stdout, stderr = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Result(process.returncode, stdout, stderr)


def run(
    command: str, *arguments: object, cache: Path, version: str = "10.16", cwd: Path | None = None, **env: str
) -> Result:
    """Run a command to its end; see `start`."""
    return finish(start(command, *arguments, cache=cache, version=version, cwd=cwd, **env))


def listing(folder: Path) -> dict[str, str]:
    """Return every file and directory below a folder, with the sha256 of the files."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def members(group: int) -> list[int]:
    """Return the living processes of a process group, read from Linux's /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; after it come state, parent and group (man 5 proc).
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(of_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(condition: Callable[[], object], *, seconds: float = LIMIT_S) -> None:
    """Wait until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
