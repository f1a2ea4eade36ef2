"""Files that are whole or absent: hashing, and files written beside and renamed."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.errors import BundleError
from runtime.support.partial import partial_file
from runtime.support.syncing import sync_file, sync_names

# One read per megabyte: large enough that the hash, not the call, is what takes the time.
_HASH_BLOCK_BYTES = 1 << 20
# Of JSON that is read as a whole. The largest that is written, a comparison with its changed images, has a few MB.
MOST_BYTES = 1 << 28


def check_plain(file: Path) -> None:
    """Refuse what waits for ever when it is opened, or never ends: for files that a library opens by their path.

    Raises:
        OSError: The file is absent, or a pipe, a socket or a device.
    """
    _refuse_special(file.stat().st_mode, str(file))


def open_plain(file: Path) -> BinaryIO:
    """Return the open contents of a file that a stranger may have put there.

    It is looked at before it is opened, as some devices act on that, and again when it is open: it may have become
    another one in between.

    Raises:
        OSError: The file cannot be opened, or is a pipe, a socket or a device.
    """
    check_plain(file)
    return open(str(file), "rb", opener=_open_at_once)


def read_plain(file: Path, *, most_bytes: int | None = MOST_BYTES) -> bytes:
    """Return the contents of a file that a stranger may have put there.

    Args:
        file: The file.
        most_bytes: Largest size, of what is small where nothing is wrong; None for any.

    Raises:
        OSError: The file cannot be read, is a pipe, a socket or a device, or is too large.
    """
    with open_plain(file) as opened:
        contents = opened.read(-1 if most_bytes is None else most_bytes + 1)
    if most_bytes is not None and len(contents) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes >> 20} MB", str(file))
    return contents


def is_special(mode: int) -> bool:
    """Return whether a file's mode is that of a pipe, a socket or a device."""
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _refuse_special(mode: int, file: str) -> None:
    if is_special(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, expected a plain file", file)


def _open_at_once(file: str, flags: int) -> int:
    """Open a file without waiting for a pipe's writer; to a plain file O_NONBLOCK means nothing. Windows has none."""
    handle = os.open(file, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        _refuse_special(os.fstat(handle).st_mode, file)
    except OSError:
        os.close(handle)
        raise
    return handle


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, 64 lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read, or is a pipe, a socket or a device.
    """
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """Yield a file beside `target` that becomes `target` when the block succeeds, and vanishes when it does not.

    Raises:
        BundleError: The disk cannot take it.
    """
    try:
        with partial_file(target) as partial:
            # What is still in the buffer is written when the file closes: a full disk may show only then.
            with partial.open("wb") as file:
                yield file
            # A partial file is its owner's; a file is read by whoever may read its folder.
            partial.chmod(0o644)
            put_file(partial, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def put_file(whole: Path, target: Path) -> None:
    """Rename a file to `target`, so that a loss of power leaves the whole file or what stood there before.

    Raises:
        OSError: The disk cannot take it.
    """
    sync_file(whole)
    whole.replace(target)
    sync_names(target.parent)


def cannot_write(target: Path, error: OSError) -> BundleError:
    """Return the error that says in one line why something could not be written."""
    reasons = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "the disk quota is used up; free some space",
        errno.EROFS: "the file system is read-only; pass another --output",
        errno.EACCES: "permission denied; pass another --output",
        errno.EPERM: "not permitted; pass another --output",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return BundleError(f"cannot write {target}: {reason}")
