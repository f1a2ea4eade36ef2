"""The files of a folder, in an order that names alone decide.

1. A folder is read at any depth, names in byte order, a folder at its own name's place. Names that start with a dot
   are not read. Links are followed, but not round in a circle.
2. No more of a folder is held in memory than the names in it and in those above it.
"""

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from runtime.errors import DataError
from runtime.images.formats import PassedOver, is_image, open_regular


def walk_images(folder: Path, passed_over: PassedOver | None = None) -> Iterator[str]:
    """Yield all images below a folder, as paths from there; `runtime/images/formats.py` says which these are.

    Args:
        folder: Where to look.
        passed_over: Counts the other files.

    Raises:
        DataError: A folder cannot be listed, or leads round in a circle.
        MachineError: The machine is why a file cannot be read.
    """
    for below in walk_files(folder):
        if is_image(below, partial(_open_below, folder, below), passed_over):
            yield below


def _open_below(folder: Path, below: str) -> BinaryIO:
    return open_regular(folder / below)


def list_images(folder: Path, passed_over: PassedOver | None = None) -> tuple[Path, ...]:
    """Return all images below a folder; see `walk_images`."""
    return tuple(folder / below for below in walk_images(folder, passed_over))


def walk_files(folder: Path, *, below: str = "", above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Yield all files below a folder, as paths from there.

    Args:
        folder: Where to look.
        below: What the paths start with.
        above: Device and inode of the folders that lead here.

    Raises:
        DataError: A folder cannot be listed, or leads round in a circle.
    """
    try:
        status = folder.stat()
        with os.scandir(folder) as listed:
            found = sorted((os.fsencode(one.name), one.name, _is_folder(one)) for one in listed)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}): expected a folder of images") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise DataError(f"{folder} is a link to a folder above it: expected a tree; remove the link")
    for _, name, is_folder in found:
        if name.startswith("."):
            continue
        if is_folder:
            yield from walk_files(folder / name, below=f"{below}{name}/", above=(*above, here))
        else:
            yield below + name


def _is_folder(listed: "os.DirEntry[str]") -> bool:
    try:
        return listed.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            # A link to itself: a file that cannot be opened.
            return False
        raise
