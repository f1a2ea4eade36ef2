"""The files of a folder, in an order that names alone decide.

1. A folder is read at any depth, names in byte order, a folder at its own name's place. Names that start with a dot
   are not read. Links are followed, but not round in a circle.
2. Pipes, sockets, devices and links to them are left out: opening one may wait for ever. Dead links are files.
3. No more of a folder is held in memory than the names in it and in those above it.
"""

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from runtime.errors import DataError
from runtime.images.formats import SPECIAL, PassedOver, is_image
from runtime.support.files import is_special, open_plain

_FOLDER, _FILE = "folder", "file"


def walk_images(folder: Path, passed_over: PassedOver | None = None) -> Iterator[str]:
    """Yield all images below a folder, as paths from there; `runtime/images/formats.py` says which these are.

    Args:
        folder: Where to look.
        passed_over: Counts the other files.

    Raises:
        DataError: A folder cannot be listed, or leads round in a circle.
        MachineError: The machine is why a file cannot be read.
    """
    for below in walk_files(folder, passed_over):
        if is_image(below, partial(_open_below, folder, below), passed_over):
            yield below


def _open_below(folder: Path, below: str) -> BinaryIO:
    return open_plain(folder / below)


def list_images(folder: Path, passed_over: PassedOver | None = None) -> tuple[Path, ...]:
    """Return all images below a folder; see `walk_images`."""
    return tuple(folder / below for below in walk_images(folder, passed_over))


def walk_files(
    folder: Path, special: PassedOver | None = None, *, below: str = "", above: tuple[tuple[int, int], ...] = ()
) -> Iterator[str]:
    """Yield all files below a folder, as paths from there.

    Args:
        folder: Where to look.
        special: Counts pipes, sockets and devices.
        below: What the paths start with.
        above: Device and inode of the folders that lead here.

    Raises:
        DataError: A folder cannot be listed, or leads round in a circle.
    """
    try:
        status = folder.stat()
        with os.scandir(folder) as listed:
            found = sorted((os.fsencode(one.name), one.name, _kind_of(one)) for one in listed)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}): expected a folder of images") from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise DataError(f"{folder} is a link to a folder above it: expected a tree; remove the link")
    for _, name, kind in found:
        if name.startswith("."):
            continue
        if kind == _FOLDER:
            yield from walk_files(folder / name, special, below=f"{below}{name}/", above=(*above, here))
        elif kind == _FILE:
            yield below + name
        elif special is not None:
            special[SPECIAL] += 1


def _kind_of(listed: "os.DirEntry[str]") -> str:
    """Return what a name stands for; of most files the folder's own entry says it."""
    try:
        if listed.is_dir():
            return _FOLDER
        return _FILE if listed.is_file() or not is_special(listed.stat().st_mode) else SPECIAL
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT):
            # A link to itself or to nothing: a file that cannot be opened.
            return _FILE
        raise
