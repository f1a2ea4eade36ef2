"""Runs a command in a fork of this process, which has imported what it needs: a try costs no import.

The process that forks must have one thread: it imports packages, and runs nothing of them.
"""

import hashlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.standin_commands import members
from tests.tensorrt_bindings.standin import SITE, standin_environment
from tests.torture.commands import Command

# A command that takes longer hangs.
LIMIT_S = 180.0
# How long processes that a command started may outlive it.
_LEAVE_S = 30.0
_ENDING = (signal.SIGINT, signal.SIGTERM)
MAINS = {"run-ssl": "runtime.commands.run_ssl", "export-ssl": "exporter.cli"}
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink", "shutil.copyfile")


@dataclass(frozen=True)
class Site:
    """Where a try runs.

    Attributes:
        inputs: What the commands read.
        root: Folder of the try.
        shared: The working folder of another try, for two commands in one; None for an own.
    """

    inputs: Path
    root: Path
    shared: Path | None = None

    @property
    def folder(self) -> Path:
        """The command's working folder, where all that it makes is."""
        return self.root / "folder" if self.shared is None else self.shared

    @property
    def temporary(self) -> Path:
        """Where it makes temporary files."""
        return self.root / "tmp"

    def begin(self, command: Command) -> None:
        """Make the folders anew, with what stands there before the command."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        self.folder.mkdir()
        self.fill(command)

    def fill(self, command: Command) -> None:
        """Put into an empty working folder what stands there before the command."""
        for name in command.before:
            shutil.copytree(self.inputs / name, self.folder / name)


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: Exit code, less than 0 for a signal's; None where the command hung and was killed.
        stdout: What it printed.
        stderr: What it said.
        seconds: How long it took.
        changes: How often it changed a file or folder.
        orphans: How many of its processes outlived it.
    """

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    changes: int
    orphans: int


@dataclass(frozen=True)
class Blow:
    """A signal, and when it is sent.

    Attributes:
        number: Number of the signal; 0 for none.
        after_s: Seconds from the start; None where `at_change` says when.
        at_change: Number of the change to a file or folder, from 1, that the command is about to make when it is sent.
        to_group: Whether the processes that the command started are sent it too, as a terminal does.
        act: Called at that moment too.
    """

    number: int
    after_s: float | None
    at_change: int = 0
    to_group: bool = False
    act: Callable[[], object] = lambda: None


def preload(command: Command) -> None:
    """Import what a command needs."""
    for module in (MAINS[command.program], *command.preload):
        importlib.import_module(module)
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads after importing {command.preload}: a fork would have one of them"


def run(command: Command, site: Site, blow: Blow | None = None, prepare: Callable[[], None] = lambda: None) -> Ending:
    """Run a command in a fork.

    Args:
        command: The command.
        site: Place of the try; `begin` was called.
        blow: What kills it; None for nothing.
        prepare: Called in the fork before the command.
    """
    logs = [site.root / name for name in ("stdout", "stderr", "changes")]
    for log in logs:
        log.write_text("")
    began = time.monotonic()
    # A blow to a fork that is not the command yet would be one to this program.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    child = os.fork()
    if not child:
        _serve(command, site, blow, prepare, logs)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    code = _wait(child, blow)
    seconds = time.monotonic() - began
    end = time.monotonic() + _LEAVE_S
    while (left := members(child)) and time.monotonic() < end:
        time.sleep(0.05)
    for one in left:
        os.kill(one, signal.SIGKILL)
    stdout, stderr, changes = (log.read_text(errors="replace") for log in logs)
    return Ending(code, stdout, stderr, seconds, int(changes or 0), len(left))


def _wait(child: int, blow: Blow | None) -> int | None:
    """Return the code of a process, after a blow."""
    deadline = time.monotonic() + LIMIT_S
    due = time.monotonic() + blow.after_s if blow is not None and blow.after_s is not None else None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if now > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        if due is not None and blow is not None and now >= due:
            due = None
            blow.act()
            # Before it is a group, it is alone.
            is_group = blow.to_group and os.getpgid(child) == child
            (os.killpg if is_group else os.kill)(child, blow.number)
        time.sleep(0.002)


def _serve(command: Command, site: Site, blow: Blow | None, prepare: Callable[[], None], logs: list[Path]) -> None:
    """Be the command, to the end of this process."""
    code = 1
    try:
        os.setsid()
        for number, target in enumerate((Path(os.devnull), *logs[:2])):
            opened = os.open(target, os.O_RDWR)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
        _set_up(command, site)
        prepare()
        # Until the command listens, a signal ends it without a word.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        _count(site, blow, os.open(logs[2], os.O_RDWR))
        try:
            importlib.import_module(MAINS[command.program]).main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  (Python would print it too)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _set_up(command: Command, site: Site) -> None:
    """Give this process the environment, arguments and signals of a command that a shell starts."""
    os.chdir(site.folder)
    environment = {"XDG_CACHE_HOME": str(site.root / "cache"), "TMPDIR": str(site.temporary), "OMP_NUM_THREADS": "1"}
    if command.standin:
        environment = standin_environment(**environment)
        sys.path.insert(0, str(SITE))
    os.environ.update(environment)
    tempfile.tempdir = None
    sys.argv = [command.program, *(one.replace("{inputs}", str(site.inputs)) for one in command.arguments)]


def _count(site: Site, blow: Blow | None, log: int) -> None:
    """Count into a file the changes that this process makes to files and folders, and send it a blow at one of them.

    The events are CPython's own, whatever calls them; those of libraries in C and Rust are not among them.
    """
    seen, places = 0, (str(site.folder), str(site.temporary))

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in _CHANGES):
            return
        named = os.fspath(arguments[0]) if isinstance(arguments[0], (str, os.PathLike)) else ""
        if named and (not named.startswith("/") or named.startswith(places)):
            seen += 1
            os.pwrite(log, str(seen).encode(), 0)
            if blow is not None and seen == blow.at_change:
                (os.killpg if blow.to_group else os.kill)(os.getpid(), blow.number)

    sys.addaudithook(look)


class Checker:
    """A check that a fork of this process makes again and again: what it imports, this process does not."""

    def __init__(self, check: Callable[[], object]) -> None:
        """Start the fork; `check` raises where something is wrong."""
        (asks, ask), (answer, answers) = os.pipe(), os.pipe()
        self._child = os.fork()
        if not self._child:
            os.close(ask)
            while os.read(asks, 1):
                said = ""
                try:
                    check()
                except BaseException as error:  # noqa: BLE001  (it is the answer)
                    said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
                os.write(answers, f"{said}\n".encode())
            os._exit(0)
        os.close(asks)
        os.close(answers)
        self._ask, self._answer = ask, os.fdopen(answer, encoding="utf-8")

    def __enter__(self) -> "Checker":
        """Return the checker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the fork."""
        os.close(self._ask)
        self._answer.close()
        os.waitpid(self._child, 0)

    def wrong(self) -> str:
        """Return what the check raises now, in one line; nothing where it passes."""
        os.write(self._ask, b"?")
        line = self._answer.readline()
        return line.rstrip("\n") if line else "the check ended its process"


def listing(folder: Path) -> dict[str, str]:
    """Return every file and folder below a folder, with the sha256 of the files."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }
