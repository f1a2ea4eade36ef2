"""The signals that end a command: each becomes Ctrl-C's KeyboardInterrupt, so that what is half made is removed."""

import _thread
import codecs
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import typer

# What a terminal, a batch system, a container or a closed session sends. Windows has no SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# coreutils' `timeout` sends its signal to the process and then to its group: within so many seconds two are one.
_ONE_S = 1.0
_AGAIN_S = 0.01
# Exit code of a process that a signal ended is this and the signal's number, as shells have it.
_ENDED_BY = 128
# What `one_line_errors` ends with, whichever the signal was.
INTERRUPTED = _ENDED_BY + signal.SIGINT


class Interruption:
    """Listens for the signals that end a command, from `listen` to `stop_listening`.

    1. The first one raises KeyboardInterrupt in the main thread.
    2. One that comes more than a second later ends the process at once: whoever sends it does not want to wait. What
       it leaves is removed when the same is made again.
    3. A signal that the process was started to ignore, as `nohup` has it, stays ignored.
    4. Python drops what is raised while it destroys an object: then the first one is raised again a moment later.
    5. One that comes while a module is imported, or while PyTorch's C++ runs Python for an operator, as it does when it
       traces, is raised when that is over: what is raised there, PyTorch takes for another error, or ends the process
       with a trace of its own. For rule 2 it counts from when it came.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._at_s = 0.0
        self._listens = False
        self._usual_hook = sys.unraisablehook

    def listen(self) -> None:
        """Begin to listen."""
        self._listens = True
        self._usual_hook, sys.unraisablehook = sys.unraisablehook, self._hear_dropped
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def stop_listening(self) -> None:
        """Let signals end the process at once: nothing is left to be kept or removed."""
        self._listens = False
        sys.unraisablehook = self._usual_hook
        for number in _SIGNALS:
            if signal.getsignal(number) == self._hear:
                signal.signal(number, signal.SIG_DFL)

    def exit_code(self, code: int) -> int:
        """Return the exit code of a process that would end with `code`: what did not succeed, the signal ended."""
        return _ENDED_BY + self._received if code and self._received is not None else code

    def _hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._received is None:
            self._received, self._at_s = signal.Signals(number), now
            if not _must_wait(frame):
                raise KeyboardInterrupt
            # Not by `threading`: the main thread may hold one of its locks where it was interrupted.
            _thread.start_new_thread(self._wait, (self._received,))
            return
        if now - self._at_s > _ONE_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _wait(self, number: signal.Signals) -> None:
        """Let the main thread hear a signal once more when it may be raised: rule 5."""
        while _must_wait(sys._current_frames().get(threading.main_thread().ident or 0)):
            time.sleep(_AGAIN_S)
        if self._listens:
            self._received = None
            _signal_main_thread(number)

    def _hear_dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Raise a KeyboardInterrupt that Python dropped once more: rule 4."""
        if self._received is None or not isinstance(dropped.exc_value, KeyboardInterrupt):
            self._usual_hook(dropped)
            return
        number, self._received = self._received, None
        # From a thread, as the object is still being destroyed: the main thread hears it a little later.
        again = threading.Timer(_AGAIN_S, _signal_main_thread, (number,))
        again.daemon = True
        again.start()


def _must_wait(frame: FrameType | None) -> bool:
    """Return whether a thread that is at a frame is importing a module, or runs an operator for PyTorch's C++."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_find_and_load" and code.co_filename == "<frozen importlib._bootstrap>":
            return True
        if code.co_name == "__torch_dispatch__":
            return True
        frame = frame.f_back
    return False


def _signal_main_thread(number: signal.Signals) -> None:
    """Send a signal to the main thread, so that it wakes where it waits; Windows has no such call."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)
    else:
        signal.raise_signal(number)


def run_to_end(app: "typer.Typer") -> int:
    """Run a command line and return its exit code, all it printed flushed.

    Args:
        app: The commands.
    """
    interruption, code = Interruption(), 0
    _print_any_name()
    # The first time Python writes a file there to see whether it can: a signal that is heard would leave it.
    with suppress(OSError):
        tempfile.gettempdir()
    interruption.listen()
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        # Before the command began, or behind its end.
        code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            _flush(stream)
    interruption.stop_listening()
    return interruption.exit_code(code)


def _print_any_name() -> None:
    """Let stdout take names that are not its encoding's, as stderr does: a result is not lost by the name of a file.

    UTF-8 prints the bytes that the file system has, as `ls` does; of another encoding, what it lacks is spelled.
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def _flush(stream: TextIO) -> None:
    """Flush a stream; where its reader has seen enough, what is left of it goes nowhere."""
    try:
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
