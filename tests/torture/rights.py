"""Places that refuse: small file systems, folders without the right to write, a process without root's rights."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

FileSystem = Literal["tmpfs", "ext4"]
# _LINUX_CAPABILITY_VERSION_3 of linux/capability.h; its data are two times three words.
_CAPABILITIES, _WORDS = 0x20080522, 6
# The file that fills a file system.
BALLAST = ".ballast"
_SIZE = 64 << 20
_BLOCK = 1 << 12


def why_no_mounts() -> str:
    """Return why file systems cannot be mounted here; nothing where they can."""
    if os.geteuid() != 0:
        return "mounting a small file system needs root"
    missing = [tool for tool in ("mount", "umount", "mkfs.ext4") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install mount e2fsprogs"
    return ""


@contextmanager
def mounted(kind: FileSystem, place: Path) -> Iterator[None]:
    """Mount a new file system of 64 MB for the block.

    Raises:
        subprocess.CalledProcessError: This machine cannot.
    """
    place.mkdir(parents=True)
    image = place.with_name(f"{place.name}.image")
    options = ["-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs"]
    if kind == "ext4":
        with image.open("wb") as file:
            file.truncate(_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, capture_output=True)
        options = ["-o", "loop", str(image)]
    subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)
        image.unlink(missing_ok=True)


def remount(place: Path, mode: Literal["ro", "rw"]) -> None:
    """Let a mounted file system be read only, or written again."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True, capture_output=True)


def fill(place: Path, free: int) -> Path:
    """Fill a file system until so many bytes are free, and return the file that does it."""
    ballast = place / BALLAST
    state = os.statvfs(place)
    wanted = max(0, state.f_bavail * state.f_frsize - free)
    with ballast.open("wb", buffering=0) as file:
        try:
            while wanted > 0:
                wanted -= file.write(b"\1" * min(wanted, _BLOCK * 64))
        except OSError:
            # The last blocks are the file system's own.
            pass
    return ballast


def drop_rights() -> None:
    """Take root's rights over permissions from this process for good: it may do then what any user may."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    if libc.capset(header, (ctypes.c_uint32 * _WORDS)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def forbid_writing(folder: Path) -> None:
    """Take the right to write from a folder and all below."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


def allow_writing(folder: Path) -> None:
    """Give it back to the owner."""
    folder.chmod(folder.stat().st_mode | 0o200)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
