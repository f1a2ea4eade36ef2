"""On PYTHONPATH of the Ray clusters that tests start: some names of files and folders are trouble there.

kills*.png    ends the process that reads it, as a decoder's crash does
raises*.png   is met with an exception that nothing foresees
waits*.png    is read once the file open.gate lies beside it
*/full/*      flushing a file to the disk finds it full
"""

import errno
import os
import pathlib
import time
from typing import Any

# tests/helpers/ray_cluster.py says it too: this file imports nothing of the project's.
GATE = "open.gate"
_open, _fsync = os.open, os.fsync


def open_(path: Any, flags: int, *choices: Any, **named: Any) -> int:
    file = pathlib.Path(os.fsdecode(path))
    if file.suffix == ".png" and not flags & os.O_WRONLY:
        if file.name.startswith("kills"):
            os._exit(9)
        if file.name.startswith("raises"):
            raise ReferenceError("no room for\nthis image")
        while file.name.startswith("waits") and not file.with_name(GATE).exists():
            time.sleep(0.02)
    return _open(path, flags, *choices, **named)


def fsync(handle: int) -> None:
    if "/full/" in str(pathlib.Path(f"/proc/self/fd/{handle}").readlink()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _fsync(handle)


os.open = open_
os.fsync = fsync  # type: ignore[assignment]
