"""Files that are whole or absent: hashing, and directories written beside and renamed."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.errors import BundleError

# One read per megabyte: large enough that the hash, not the call, is what takes the time.
_HASH_BLOCK_BYTES = 1 << 20


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_directory(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty directory beside `target` that becomes `target` when the block succeeds.

    When the block raises (Ctrl-C included), the directory is removed and an existing `target` is
    left as it was.

    Args:
        target: The directory to make.
        overwrite: Whether an existing `target` may be replaced.

    Raises:
        BundleError: `target` exists and may not be replaced, or the disk cannot take it.
    """
    check_target(target, overwrite=overwrite)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        # mkdtemp makes 0700; a bundle is read by whoever may read its folder.
        staging.chmod(0o755)
        yield staging
        _replace(staging, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        # After a success the staging directory has been renamed away, and this finds nothing.
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def atomic_file(target: Path) -> Iterator[BinaryIO]:
    """Yield a file beside `target` that becomes `target` when the block succeeds, and vanishes when it does not.

    Raises:
        BundleError: The disk cannot take it.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise cannot_write(target, error) from error
    partial = Path(name)
    try:
        # What is still in the buffer is written when the file closes: a full disk may show only then.
        with os.fdopen(handle, "wb") as file:
            yield file
        # mkstemp makes 0600; a file is read by whoever may read its folder.
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        # After a success the file has been renamed away, and this finds nothing.
        partial.unlink(missing_ok=True)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any long work is done for it.

    Raises:
        BundleError: `target` exists and may not be replaced, is not a bundle, or has no parent folder.
    """
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise BundleError(f"{target} exists: pass --overwrite to replace it, or --output for another place")
        if target.is_symlink() or not target.is_dir():
            raise BundleError(f"{target} is not a directory: pass --output for another place")
        if any(target.iterdir()) and not (target / "bundle.json").is_file():
            raise BundleError(f"{target} is not a bundle (it has no bundle.json) and is not replaced: pass --output")
    if not target.parent.is_dir():
        raise BundleError(f"{target.parent} is not a directory: make it first, or pass --output for another place")
    if not os.access(target.parent, os.W_OK):
        raise BundleError(f"cannot write into {target.parent}: pass --output for another place, or change its rights")


def _replace(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`; an old `target` steps aside first and comes back on failure."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    target.rename(aside / target.name)
    try:
        staging.rename(target)
    except OSError:
        (aside / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def cannot_write(target: Path, error: OSError) -> BundleError:
    """Return the error that says in one line why something could not be written."""
    reasons = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "the disk quota is used up; free some space",
        errno.EROFS: "the file system is read-only; pass --output for another place",
        errno.EACCES: "permission denied; pass --output for another place",
        errno.EPERM: "not permitted; pass --output for another place",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return BundleError(f"cannot write {target}: {reason}")
