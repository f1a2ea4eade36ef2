"""A bundle on its way to the nodes of a cluster: packed once, in each node's shared memory once, checked there.

1. A packed bundle is a tar of the files that its manifest lists, the manifest, and its TensorRT plan where it has
   one; the same bytes each time, so that its sha256 names it.
2. A node unpacks it once, into a folder of the user's alone, however many processes ask: the first one does it under
   another name and renames it, the others wait.
3. Each process checks every file against the packed one, and the bundle's own hashes, before it is used.
"""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import MANIFEST_FILE, PLANS
from runtime.errors import BundleError
from runtime.on_ray.answers import here
from runtime.on_ray.node_folder import alone, cannot_unpack, own_folder
from runtime.support.files import hash_file
from runtime.support.syncing import sync_tree

# In no manifest: a plan belongs to one kind of machine. Its engine checks that before it is loaded.
_PLAN_FILES = tuple(name for files in PLANS.values() for name in (files.plan, files.sidecar, files.layers))


@dataclass(frozen=True)
class PackedBundle:
    """A bundle in one piece.

    Attributes:
        contents: A tar, (bytes,) uint8: Ray keeps an array in shared memory, without a copy for each process.
        sha256: Hash of the contents.
    """

    contents: npt.NDArray[np.uint8]
    sha256: str


def pack_bundle(bundle: Bundle) -> PackedBundle:
    """Return a bundle in one piece; rule 1."""
    plan = [name for name in _PLAN_FILES if (bundle.path / name).is_file()]
    names = [MANIFEST_FILE, *(entry.path for entry in bundle.manifest.files), *plan]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            contents = (bundle.path / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    array = np.frombuffer(packed.getbuffer(), np.uint8)
    return PackedBundle(array, hashlib.sha256(array.data).hexdigest())


def unpack_bundle(packed: PackedBundle, *, cache: Path | None = None) -> Bundle:
    """Return the bundle, unpacked on this machine and checked; rules 2 and 3.

    Args:
        packed: The bundle in one piece.
        cache: Where to unpack; None for a folder of this user's among the temporary files.

    Raises:
        BundleError: The bundle that arrived, or its unpacked copy, is not what was sent, or the disk cannot take it.
    """
    found = hashlib.sha256(packed.contents.data).hexdigest()
    if found != packed.sha256:
        raise BundleError(
            f"the bundle arrived with sha256 {found[:12]}…, expected {packed.sha256[:12]}…: send it again"
        )
    folder = (own_folder() if cache is None else cache) / packed.sha256
    try:
        with alone(folder):
            if not folder.is_dir():
                _unpack(packed, folder)
    except OSError as error:
        raise cannot_unpack(folder, error) from error
    _check(packed, folder)
    return open_bundle(folder)


def _unpack(packed: PackedBundle, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, contents in _members(packed):
            file = partial / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(contents)
        # The next job takes a folder of this name for whole.
        sync_tree(partial)
        partial.rename(folder)
    except BaseException:
        # A disk that is full needs the room more than the next job needs a half.
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _check(packed: PackedBundle, folder: Path) -> None:
    """Compare what is unpacked with what was sent.

    Raises:
        BundleError: A file differs.
    """
    for name, contents in _members(packed):
        file = folder / name
        if not file.is_file() or hash_file(file) != hashlib.sha256(contents).hexdigest():
            raise BundleError(
                f"{here()}: {file} has changed since it was unpacked: remove {folder}, and it will be unpacked again"
            )


def _members(packed: PackedBundle) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a packed bundle, none of which leads out of it.

    Raises:
        BundleError: One does.
    """
    with tarfile.open(fileobj=io.BytesIO(packed.contents.tobytes())) as tar:
        for member in tar:
            parts = Path(member.name).parts
            # Asked before the contents: of a link they would be those of what it leads to.
            opened = tar.extractfile(member) if member.isreg() else None
            if opened is None or Path(member.name).is_absolute() or ".." in parts:
                raise BundleError(f"a packed bundle holds {member.name}: expected plain files inside it")
            yield member.name, opened.read()
