"""What ends a command from outside: its exit code, the line it says, and what it removes before."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

# A command that is half way through a file, and takes its time to clean up after SLOW.
_COMMAND = """
import sys, time
from pathlib import Path
import typer
from runtime.commands.console import one_line_errors
from runtime.commands.interruption import run_to_end
from runtime.support.files import atomic_file

app = typer.Typer()

@app.command()
def write(folder: Path, slow: float = 0.0) -> None:
    with one_line_errors(), atomic_file(folder / "file") as file:
        file.write(b"half")
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            time.sleep(slow)

sys.exit(run_to_end(app))
"""
_LIMIT_S = 60.0
_WHOLE = "interrupted: what was written is whole\n"


# A command that is destroying an object for a second, and then waits.
_DESTROYING = """
import sys, time
import typer
from runtime.commands.console import one_line_errors
from runtime.commands.interruption import run_to_end

class Slow:
    def __del__(self):
        print("ready", flush=True)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            time.sleep(0.05)

app = typer.Typer()

@app.command()
def wait() -> None:
    with one_line_errors():
        one = Slow()
        del one
        time.sleep(60)

sys.exit(run_to_end(app))
"""


def test_a_signal_that_comes_while_an_object_is_destroyed_is_not_lost() -> None:
    command = [sys.executable, "-c", _DESTROYING]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=_LIMIT_S)[1]
    assert process.returncode == 143
    assert said == _WHOLE


def _as_in_a_terminal() -> None:
    """A pytest in the background ignores SIGINT, and one that nohup started SIGHUP; its children would too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(folder: Path, *arguments: str, ignored: bool = False) -> "subprocess.Popen[str]":
    """Start the command and wait until it is half way; `ignored`: as nohup does."""
    process = subprocess.Popen(
        [*(["nohup"] if ignored else []), sys.executable, "-c", _COMMAND, str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=_as_in_a_terminal,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda one: str(one)
)
def test_a_signal_ends_a_command_with_one_line_and_nothing_half_made(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = start(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    process.send_signal(number)
    _, stderr = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, stderr) == (code, _WHOLE)
    assert list(tmp_path.iterdir()) == []


def test_two_signals_at_once_are_one(tmp_path: Path) -> None:
    process = start(tmp_path, "--slow", "0.5")
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    _, stderr = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, stderr) == (143, _WHOLE)
    assert list(tmp_path.iterdir()) == []


def test_a_later_signal_ends_the_command_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "--slow", "60")
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, stderr) == (-signal.SIGTERM, "")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    process = start(tmp_path, ignored=True)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 143
