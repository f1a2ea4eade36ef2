"""Opens damaged bundles in memory, one per line of standard input, in a process whose crash a test can see.

    python -m tests.helpers.cpp.mutations LIBRARY < CASES

A line is JSON: {"manifest": base64, "model": base64 or null, "sidecar": ..., "labels": ..., "params": {...}}. For each
one line comes back: {"status": number, "message": text}.
"""

import base64
import ctypes
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.helpers.cpp.library import load, make_buffers, make_params
from tests.helpers.paths import ROOT

PARTS = ("manifest", "model", "plan", "sidecar", "labels")


class Opener:
    """A process that opens bundles and says what happened."""

    def __init__(self, library: Path) -> None:
        self._library = library
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.cpp.mutations", str(self._library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def open(self, params: Mapping[str, int] | None = None, **parts: bytes | None) -> tuple[int, str]:
        """Return the status and the message for a bundle in memory.

        Raises:
            AssertionError: The process died.
        """
        case: dict[str, Any] = {
            name: None if content is None else base64.b64encode(content).decode() for name, content in parts.items()
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**case, "params": dict(params or {})}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._start()
            raise AssertionError(f"the library ended the process, exit {code}: {parts['manifest']!r}")
        answer = json.loads(line)
        return answer["status"], answer["message"]

    def close(self) -> None:
        """End the process, which must end well."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait() == 0


def answer(library: Path, lines: Iterable[str]) -> None:
    """Print what became of every case."""
    loaded = load(library)
    for line in lines:
        case = json.loads(line)
        params = make_params(loaded, **case.pop("params"))
        parts = {name: base64.b64decode(text) for name, text in case.items() if text is not None}
        buffers, handle = make_buffers(**parts), ctypes.c_void_p()
        status = loaded.rne_open_buffers(ctypes.byref(buffers), ctypes.byref(params), ctypes.byref(handle))
        if status != 0 and handle:
            sys.exit("a failed call left a handle")
        loaded.rne_close(handle)
        message = loaded.rne_last_error().decode(errors="replace") if status else ""
        print(json.dumps({"status": status, "message": message}), flush=True)


if __name__ == "__main__":
    answer(Path(sys.argv[1]), sys.stdin)
