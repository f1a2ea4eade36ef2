"""A bundle's directory, whole or absent: written beside its place and renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.bundle.layout import MANIFEST_FILE
from runtime.errors import BundleError
from runtime.support.files import cannot_write
from runtime.support.partial import partial_folder, recover, replace_folder
from runtime.support.words import printable


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
        with partial_folder(target) as staging:
            # A partial folder is its owner's; a bundle is read by whoever may read its folder.
            staging.chmod(0o755)
            yield staging
            replace_folder(staging, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def check_path(path: Path) -> None:
    """Refuse a path that neither engines nor the JSON of results can hold.

    Raises:
        BundleError: The path is not UTF-8.
    """
    shown = printable(str(path))
    if shown != str(path):
        raise BundleError(f"the bundle's path {shown} is not UTF-8: expected one that is; rename the folders in it")


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, before any long work is done for it.

    Raises:
        BundleError: `target` exists and may not be replaced, is not a bundle, or has no parent folder, or its path is
            not UTF-8.
    """
    check_path(target)
    recover(target)
    if target.exists() or target.is_symlink():
        if not overwrite:
            raise BundleError(f"{target} exists: pass --overwrite to replace it, or another --output")
        if target.is_symlink() or not target.is_dir():
            raise BundleError(f"{target} is not a directory: pass another --output")
        if any(target.iterdir()) and not (target / MANIFEST_FILE).is_file():
            raise BundleError(
                f"{target} is not a bundle (it has no {MANIFEST_FILE}), so it is not replaced: pass another --output"
            )
    if not target.parent.is_dir():
        raise BundleError(f"{target.parent} is not a directory: create it first, or pass another --output")
    if not os.access(target.parent, os.W_OK):
        raise BundleError(f"cannot write into {target.parent}: pass another --output, or change its permissions")
