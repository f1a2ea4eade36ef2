"""The folder of a node in which what is sent to it is unpacked, by one process at a time."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BundleError
from runtime.on_ray.answers import here
from runtime.support.file_locks import require_posix

_PURPOSE = "a worker of --ray"


def own_folder() -> Path:
    """Return a folder that nobody else can write to, made if it is not there.

    Raises:
        BundleError: The folder cannot be created, or belongs to another user.
    """
    require_posix(_PURPOSE)
    folder = Path(tempfile.gettempdir(), f"export-ssl-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise cannot_unpack(folder, error) from error
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise BundleError(f"{here()}: {folder} is not a folder that only you can use: remove it")
    return folder


def cannot_unpack(folder: Path, error: OSError) -> BundleError:
    """Return the error that says in one line on which node, and why, something could not be unpacked."""
    return BundleError(f"{here()} cannot unpack a bundle into {folder} ({error.strerror}): free some space there")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a folder of that name.

    Raises:
        BundleError: This system has no file locks.
    """
    require_posix(_PURPOSE)
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
