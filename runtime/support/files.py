"""Files that are whole or absent: hashing, and files written beside and renamed."""

import errno
import hashlib
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


def read_plain(file: Path) -> bytes:
    """Return the contents of a file that a stranger may have put there, and that is small where nothing is wrong.

    Raises:
        OSError: The file cannot be read, is a pipe or a device, which may never end, or is larger than MOST_BYTES.
    """
    kind = file.stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, expected a plain file", str(file))
    with file.open("rb") as opened:
        contents = opened.read(MOST_BYTES + 1)
    if len(contents) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20} MB", str(file))
    return contents


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
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
