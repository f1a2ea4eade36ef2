"""A folder for files that nobody needs afterwards, removed whatever ends the work in it."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the names of all such folders begin with.
PREFIX = "export-ssl-"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty folder, readable by its owner, and remove it afterwards with all that is in it.

    A signal that raises KeyboardInterrupt, once and at whatever moment, leaves nothing. `tempfile.TemporaryDirectory`
    leaves the folder where the signal comes before it knows the folder's name, or while it removes the folder.

    Raises:
        OSError: The disk cannot take it.
    """
    # Nobody else has this name, so what is removed below is this folder.
    folder = Path(tempfile.gettempdir(), f"{PREFIX}{secrets.token_hex(8)}")
    try:
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        # A signal in the removal above broke it off.
        shutil.rmtree(folder, ignore_errors=True)
