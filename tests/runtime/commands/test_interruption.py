"""What ends a command from outside: its exit code, the line it says, and what it removes before."""

import os
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


# A command that imports a module, and then waits.
_IMPORTING = """
import sys, time
import typer
from runtime.commands.console import one_line_errors
from runtime.commands.interruption import run_to_end

app = typer.Typer()

@app.command()
def wait(folder: str) -> None:
    sys.path.insert(0, folder)
    with one_line_errors():
        import slow
        time.sleep(60)

sys.exit(run_to_end(app))
"""
_SLOW = """
import time
print("ready", flush=True)
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    time.sleep(0.05)
print("imported", flush=True)
"""


def _start_importing(folder: Path, module: str) -> "subprocess.Popen[str]":
    (folder / "slow.py").write_text(module, encoding="utf-8")
    command = [sys.executable, "-c", _IMPORTING, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_signal_that_comes_while_a_module_is_imported_is_heard_after_that(tmp_path: Path) -> None:
    process = _start_importing(tmp_path, _SLOW.format(seconds=1))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, printed, said) == (143, "imported\n", _WHOLE)


def test_a_second_signal_ends_an_import_at_once(tmp_path: Path) -> None:
    process = _start_importing(tmp_path, _SLOW.format(seconds=60))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=_LIMIT_S / 2) == ("", "")
    assert process.returncode == -signal.SIGTERM


# The signal comes where C++ of PyTorch has called Python: what was raised there ended the process by SIGABRT.
_BENEATH_CPP = """
import os, signal, sys
inside = []

def watch(frame, event, arg):
    if event == "c_call":
        inside.append(getattr(arg, "__name__", ""))
    elif event in ("c_return", "c_exception") and inside:
        inside.pop()
    elif event == "call" and "_c10d_init" in inside:
        sys.setprofile(None)
        print("beneath", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

sys.setprofile(watch)
import torch
print("imported", flush=True)
"""


def test_a_signal_that_comes_beneath_the_start_of_pytorchs_code_is_one_line(tmp_path: Path) -> None:
    process = _start_importing(tmp_path, _BENEATH_CPP)
    printed, said = process.communicate(timeout=2 * _LIMIT_S)
    assert (process.returncode, printed, said) == (143, "beneath\nimported\n", _WHOLE)


# Each operator that PyTorch traces comes to Python by a method of this name. A KeyboardInterrupt from inside of it
# ended an export by SIGABRT.
_DISPATCHING = """
import sys, time
import typer
from runtime.commands.console import one_line_errors
from runtime.commands.interruption import run_to_end

class Mode:
    def __torch_dispatch__(self):
        print("ready", flush=True)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            time.sleep(0.01)
        print("dispatched", flush=True)

app = typer.Typer()

@app.command()
def wait():
    with one_line_errors():
        Mode().__torch_dispatch__()
        time.sleep(60)

sys.exit(run_to_end(app))
"""


def test_a_signal_that_comes_while_pytorch_runs_an_operator_in_python_is_heard_after_that() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _DISPATCHING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=_LIMIT_S)
    assert (process.returncode, printed, said) == (143, "dispatched\n", _WHOLE)


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


_PRINT = """
import sys, typer
from runtime.commands.interruption import run_to_end

app = typer.Typer()


@app.command()
def show(name: str) -> None:
    print(f"{name} é")


sys.exit(run_to_end(app))
"""


@pytest.mark.parametrize(
    ("encoding", "printed"), [("utf-8:strict", b"a\xff \xc3\xa9\n"), ("ascii:strict", rb"a\udcff \xe9" + b"\n")]
)
def test_a_result_is_printed_whatever_names_are_in_it(encoding: str, printed: bytes) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PRINT, b"a\xff"],
        capture_output=True,
        timeout=_LIMIT_S,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, printed, b"")
