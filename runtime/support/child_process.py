"""A process of this project's own that reads lines and answers with lines: for what may crash, or must be alone."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import runtime.errors

# The folder that this package is in.
_HOME = Path(runtime.errors.__file__).absolute().parents[1]
# How long a process that has answered may take to end, seconds.
_LEAVE_S = 2.0
# Of what it wrote to stderr before it died.
_LAST_WORDS_BYTES = 2000
_LAST_LINES = 2


class ChildProcess:
    """A running `python -m MODULE`; close it, or use it in a `with` block."""

    def __init__(self, module: str) -> None:
        """Start the process.

        Args:
            module: Module of this project; it reads lines from its input, writes lines to its output, and ends at the
                end of its input.
        """
        # A file, not a pipe: nobody reads it while lines are read, and a full pipe would stop the process.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            # `-m` looks into the working folder first, where a folder of the user's may be called `runtime`.
            cwd=_HOME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> "ChildProcess":
        """Return the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def send(self, line: str) -> None:
        """Tell it something. If it is dead, `lines` and `wait` show that."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield its answers, without their ends, until it ends; half a line, of a process that died, is none."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                yield line[:-1]

    def wait(self, timeout_s: float | None = None) -> int:
        """Return its exit code as subprocess has it, when it has ended.

        Raises:
            subprocess.TimeoutExpired: The process has not ended.
        """
        return self._process.wait(timeout_s)

    def last_words(self) -> str:
        """Return the end of what it wrote to stderr, as one line."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _LAST_WORDS_BYTES))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return " ".join(" ".join(lines[-_LAST_LINES:]).split())

    def close(self) -> None:
        """Make sure that it is gone; one that has answered ends by itself. Calling it twice is fine."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
