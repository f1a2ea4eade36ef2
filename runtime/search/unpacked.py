"""A copy of all embeddings that a search reads without unpacking them, kept in the output.

    OUT/_search/unpacked/embeddings.npy    all rows in order, (N, D) float32
    OUT/_search/unpacked/unpacked.json     of which job they are

Parquet is compressed and has levels for each number: to unpack it takes several times as long as to compare what comes
out. The copy is read in the kernel's memory as it lies in the file. It is float32 for a float16 output too: numbers
are the same, and to widen them at each search takes three times as long as the search.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, TypeVar

import numpy as np

from runtime.search.gallery import Gallery, map_blocks
from runtime.search.kept import KeptRecord, folder_of, job_hash, made_whole, read_record
from runtime.support.arrays import AnyFloats
from runtime.support.json_file import write_model
from runtime.support.npy import load_npy

_Made = TypeVar("_Made")
_FOLDER, _EMBEDDINGS, _RECORD = "unpacked", "embeddings.npy", "unpacked.json"
_BLOCK_ROWS = 2048


class _Slice(NamedTuple):
    file: Path
    start: int

    def embeddings(self) -> AnyFloats:
        # A mapping of its own, which ends with the block, and what it counts as memory with it.
        mapped: AnyFloats = load_npy(self.file, mapped=True)
        return mapped[self.start : self.start + _BLOCK_ROWS]


@dataclass(frozen=True)
class Unpacked:
    """The copy.

    Attributes:
        file: Where it is.
        rows: Number of its rows.
    """

    file: Path
    rows: int

    def mapped(self, work: Callable[[AnyFloats], _Made]) -> Iterator[tuple[int, _Made]]:
        """Yield the number of each block's first row, and what `work` makes of the block; as `Gallery.mapped`."""
        slices = ((start, _Slice(self.file, start)) for start in range(0, self.rows, _BLOCK_ROWS))
        yield from map_blocks(slices, work)


def find_unpacked(gallery: Gallery) -> Unpacked | None:
    """Return the copy of an output's rows, or None where there is none, one of other rows, or a damaged one."""
    folder = folder_of(gallery, _FOLDER)
    record = read_record(folder / _RECORD, KeptRecord, gallery)
    file = folder / _EMBEDDINGS
    if record is None:
        return None
    try:
        copy = load_npy(file, mapped=True)
    except (OSError, ValueError):
        return None
    fits = copy.dtype == np.float32 and copy.shape == (record.rows, gallery.job.bundle.embedding_dim)
    return Unpacked(file, record.rows) if fits else None


def unpack(gallery: Gallery, on_stage: Callable[[str], None]) -> Unpacked | None:
    """Return the copy of an output's rows, which is made where there is none; None of .npy parts, which need none.

    Raises:
        BundleError: A part cannot be read, or the disk cannot take the copy.
    """
    if gallery.job.rows.format == "npy":
        return None
    found = find_unpacked(gallery)
    if found is not None:
        return found
    on_stage(f"unpack {gallery.rows:,} rows")
    folder = folder_of(gallery, _FOLDER)
    with made_whole(folder) as whole:
        with (whole / _EMBEDDINGS).open("wb") as file:
            header = np.empty((0, gallery.job.bundle.embedding_dim), np.float32)
            described = {**np.lib.format.header_data_from_array_1_0(header), "shape": (gallery.rows, header.shape[1])}
            # NumPy's own writing to a file hides why the disk took no more.
            np.lib.format.write_array_header_1_0(SimpleNamespace(write=file.write), described)
            for _, block in gallery.blocks():
                file.write(np.ascontiguousarray(block, np.float32).data)
        write_model(whole / _RECORD, KeptRecord(job_sha256=job_hash(gallery), rows=gallery.rows))
    return Unpacked(folder / _EMBEDDINGS, gallery.rows)
