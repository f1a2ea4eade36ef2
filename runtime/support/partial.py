"""Files and folders that are made beside their place and put there whole, and what a killed process left of them.

    .NAME.<random>.partial   being made; its maker holds a lock on it, which goes with the process, however that ends
    .NAME.<random>.old/NAME  what stood there before, for the moment between two renames

The next process that makes NAME removes the first where no process holds it, and puts the second back where NAME is
missing. Where there are no POSIX locks (Windows, some network file systems), nothing is removed.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from runtime.support.syncing import sync_names, sync_tree

PARTIAL = ".partial"
_ASIDE = ".old"


@contextmanager
def partial_file(target: Path) -> Iterator[Path]:
    """Yield an empty file beside `target`, readable by its owner, and remove it if it is still there afterwards.

    Raises:
        OSError: The disk cannot take it.
    """

    def make() -> Path:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent)
        os.close(handle)
        return Path(name)

    recover(target)
    with _held(make) as partial:
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`, readable by its owner, and remove it if it is still there afterwards.

    Raises:
        OSError: The disk cannot take it.
    """
    recover(target)
    with _held(lambda: Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent))) as partial:
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def replace_folder(whole: Path, target: Path) -> None:
    """Rename a folder to `target`; what stands there steps aside first, and comes back on failure.

    A loss of power leaves the whole folder, or what stood there, at its place or aside.

    Raises:
        OSError: The disk cannot take it.
    """
    sync_tree(whole)
    if not target.exists():
        whole.rename(target)
        sync_names(target.parent)
        return
    with _held(lambda: Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_ASIDE, dir=target.parent))) as aside:
        try:
            # The place aside must be there before the old folder goes to it.
            sync_names(target.parent)
            target.rename(aside / target.name)
            sync_names(aside)
            whole.rename(target)
            sync_names(target.parent)
        except BaseException:
            # Ctrl-C too. Where it cannot come back now it stays aside, for the next process.
            _put_back(aside, target)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def recover(target: Path) -> None:
    """Remove what killed processes left half made of `target`, and put back what one had moved aside.

    What cannot be removed or put back stays: this is no reason not to make `target`.
    """
    if find_spec("fcntl") is None:
        return
    try:
        with os.scandir(target.parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(f".{target.name}.")]
    except OSError:
        return
    for name in names:
        left, random = target.parent / name, name.removeprefix(f".{target.name}.")
        # A name of another target that begins like this one has a dot in the part that is random here.
        if "." in random.removesuffix(PARTIAL).removesuffix(_ASIDE):
            continue
        if name.endswith(PARTIAL):
            _if_nobody_holds(left, _remove)
        elif name.endswith(_ASIDE):
            _if_nobody_holds(left, lambda aside: _put_back(aside, target))


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _put_back(aside: Path, target: Path) -> None:
    if not target.exists() and (aside / target.name).exists():
        with suppress(OSError):
            (aside / target.name).rename(target)
    if target.exists():
        shutil.rmtree(aside, ignore_errors=True)


def _if_nobody_holds(left: Path, act: Callable[[Path], None]) -> None:
    import fcntl

    with suppress(OSError):
        handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            act(left)
        finally:
            os.close(handle)


@contextmanager
def _held(make: Callable[[], Path]) -> Iterator[Path]:
    """Make a file or folder, and hold a lock on it for the block."""
    if find_spec("fcntl") is None:
        yield make()
        return
    import fcntl

    while True:
        made = make()
        handle = os.open(made, os.O_RDONLY)
        # Where a file system has no locks nobody else can lock it either, and nothing is removed.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if made.exists():
            break
        # Another process took it for one that was left, between the two calls.
        os.close(handle)
    try:
        yield made
    finally:
        os.close(handle)
