"""Folders that one run of the tests makes once, however many workers of pytest-xdist it has."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first worker to ask fills, while the others wait.

    Args:
        factory: Maker of temporary folders; the new one lies in its base folder, or in what holds the workers' own.
        name: The folder's, one for each `make`.
        make: Fills the empty folder. Nobody may change what is in it afterwards.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, partial = base / name, base / f"{name}.partial"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            # What a worker that failed left is no start.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder
