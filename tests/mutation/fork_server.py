"""Runs pytest once for each line on stdin, in a forked process: large packages are imported once, not for each mutant.

Each line is JSON: `words` for pytest, `limit_s` of processor time, and `packages`, which are imported before the fork.
The answer is a line of JSON: `code`, pytest's exit code or None where the limit was reached; `seconds` of processor
time; and `said`, the end of what pytest printed. Nothing of the project may be imported here but this file: what is
mutated is read anew by each run.
"""

import contextlib
import importlib
import json
import math
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

# A mutant may ask for any size: bytes of address space, which libraries take without using, and of one file.
_MEMORY, _FILE = 32 << 30, 1 << 30
_WAIT_S = 0.02
# What waits for ever uses no processor: so many times the limit may pass.
_OF_THE_CLOCK = 20.0
_SAID = 2000


def run_pytest(words: list[str], *, limit_s: float, log: Path) -> tuple[int | None, float]:
    """Return pytest's exit code, or None where it did not end in time, and the seconds that it took.

    Args:
        words: Words for pytest.
        limit_s: How long it may take, seconds of processor time: of the clock's, a busy machine takes any number.
        log: File for what it prints.
    """
    ends = time.monotonic() + _OF_THE_CLOCK * limit_s
    child = os.fork()
    if not child:
        _be_child(words, math.ceil(limit_s), log)
    ended, status, used = os.wait4(child, os.WNOHANG)
    while not ended and time.monotonic() < ends:
        time.sleep(_WAIT_S)
        ended, status, used = os.wait4(child, os.WNOHANG)
    # Its own processes too, and itself where it did not end.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    stopped = code in (-signal.SIGXCPU, -signal.SIGKILL)
    return None if stopped else code, used.ru_utime + used.ru_stime


def _be_child(words: list[str], limit_s: int, log: Path) -> None:
    import pytest

    code = 1
    try:
        # Not a session of its own: Linux would give it the priority of a new one.
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nowhere, 0), (descriptor, 1), (descriptor, 2)):
            os.dup2(source, target)
        code = int(pytest.main(words))
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the child must not go on as its parent
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def main() -> None:
    """Answer requests until stdin ends."""
    log = Path("build") / "pytest.log"
    log.parent.mkdir(exist_ok=True)
    for line in sys.stdin:
        request = json.loads(line)
        for name in request["packages"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        code, seconds = run_pytest(request["words"], limit_s=request["limit_s"], log=log)
        said = log.read_text(encoding="utf-8", errors="replace")[-_SAID:]
        print(json.dumps({"code": code, "seconds": seconds, "said": said}), flush=True)


if __name__ == "__main__":
    main()
