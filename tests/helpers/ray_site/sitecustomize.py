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

# tests/helpers/ray_cluster.py says it too: this file imports nothing of the project's.
GATE = "open.gate"
_read_bytes, _fsync = pathlib.Path.read_bytes, os.fsync


def read_bytes(path: pathlib.Path) -> bytes:
    if path.name.startswith("kills"):
        os._exit(9)
    if path.name.startswith("raises"):
        raise ReferenceError("no room for\nthis image")
    while path.name.startswith("waits") and not path.with_name(GATE).exists():
        time.sleep(0.02)
    return _read_bytes(path)


def fsync(handle: int) -> None:
    if "/full/" in str(pathlib.Path(f"/proc/self/fd/{handle}").readlink()):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    _fsync(handle)


pathlib.Path.read_bytes = read_bytes  # type: ignore[method-assign, assignment]
os.fsync = fsync  # type: ignore[assignment]
