"""A file on its way to the nodes of a cluster, in each node's shared memory once, checked there; a checkpoint.

A node writes it once, into a folder of the user's alone that its sha256 names, under its own name, which may say what
it is. Each process checks it before it is used.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import BundleError, CheckpointError
from runtime.on_ray.answers import here
from runtime.on_ray.node_folder import alone, own_folder
from runtime.support.files import hash_file, put_file


@dataclass(frozen=True)
class PackedFile:
    """A file and its name.

    Attributes:
        name: Name of the file, without folders.
        contents: (bytes,) uint8: Ray keeps an array in shared memory, without a copy for each process.
        sha256: Hash of the contents.
    """

    name: str
    contents: npt.NDArray[np.uint8]
    sha256: str


def pack_file(path: Path) -> PackedFile:
    """Return a file as it can be sent.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        contents = np.fromfile(path, np.uint8)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}; check --weights and its permissions") from error
    return PackedFile(path.name, contents, hashlib.sha256(contents.data).hexdigest())


def unpack_file(packed: PackedFile, *, cache: Path | None = None) -> Path:
    """Return where the file is on this machine, checked.

    Args:
        packed: The file.
        cache: Where to write it; None for a folder of this user's among the temporary files.

    Raises:
        BundleError: What is there is not what was sent, or the disk cannot take it.
    """
    folder = (cache or own_folder()) / packed.sha256
    file = folder / packed.name
    try:
        with alone(folder):
            if not file.is_file():
                folder.mkdir(exist_ok=True)
                partial = file.with_name(f"{packed.name}.partial")
                try:
                    # NumPy's own `tofile` does not say why a disk cannot take it.
                    partial.write_bytes(packed.contents.data)
                    put_file(partial, file)
                except BaseException:
                    partial.unlink(missing_ok=True)
                    raise
        found = hash_file(file)
    except OSError as error:
        raise BundleError(f"{here()} cannot write {file} ({error.strerror}): free some space there") from error
    if found != packed.sha256:
        raise BundleError(
            f"{here()}: {file} has sha256 {found[:12]}…, expected {packed.sha256[:12]}…: remove it, and try again"
        )
    return file
