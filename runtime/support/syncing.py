"""What is to survive a loss of power: file contents are on the disk before a name leads to them, and names after.

A file system may write contents and names in any order until `fsync` says that they are there: a renamed file can be
empty after a loss of power, and a new name can be missing. Source: POSIX fsync; T. S. Pillai et al., "All File Systems
Are Not Created Equal", OSDI 2014 (the tool ALICE); SQLite, "Atomic Commit In SQLite", section 3.
"""

import errno
import os
from pathlib import Path

# Of file systems that write names with the contents or cannot be asked, and of a folder that may not be read.
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def sync_file(file: Path) -> None:
    """Return when a file's contents are on the disk.

    Raises:
        OSError: The disk cannot take them.
    """
    # Windows syncs only what is open for writing.
    handle = os.open(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_names(folder: Path) -> None:
    """Return when the names in a folder are on the disk: what was made, renamed and removed in it.

    Raises:
        OSError: The disk cannot take them.
    """
    if os.name == "nt":
        # It opens no folders; NTFS keeps names in a journal.
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise


def sync_tree(folder: Path) -> None:
    """Return when all below a folder is on the disk, the folder's own name excepted.

    Raises:
        OSError: The disk cannot take it.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                sync_tree(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                sync_file(Path(entry.path))
    sync_names(folder)
