"""The files of one part, read piece by piece: row groups of Parquet, slices of Lance and of .npy."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from runtime.embed.output.identity import Job
from runtime.embed.output.lance_part import SUFFIX as LANCE
from runtime.embed.output.lance_part import count_rows, read_rows
from runtime.embed.output.npy_part import EMBEDDING, KEYS
from runtime.embed.output.parquet_part import SUFFIX as PARQUET
from runtime.embed.output.part_files import DATA, part_name
from runtime.errors import BundleError
from runtime.support.arrays import AnyFloats
from runtime.support.json_file import parse_json
from runtime.support.npy import load_npy

# Of a file of another kind at a time, about as many as a row group of Parquet has: 16 MB of a ResNet-50's embeddings.
_SLICE_ROWS = 2048


class Row(NamedTuple):
    """What is written of an image beside its embedding.

    Attributes:
        key: What the image is called.
        sha256: Hash of its encoded bytes, 64 hexadecimal digits.
    """

    key: str
    sha256: str


class RowGroup(NamedTuple):
    """A row group of a Parquet file; nothing of it is read until it is asked for, in any thread.

    Attributes:
        file: The file.
        group: Number of the row group in the file.
        size: How many rows it has.
    """

    file: Path
    group: int
    size: int

    def embeddings(self) -> AnyFloats:
        """Return the embeddings, (N, D) float32 or float16.

        Raises:
            BundleError: The file cannot be read.
        """
        numbers: AnyFloats = self._read("embedding").column(0).combine_chunks().flatten().to_numpy()
        return numbers.reshape(self.size, -1)

    def some_embeddings(self, places: list[int]) -> AnyFloats:
        """Return the embeddings at some places of the piece, (places, D), in memory of their own."""
        return self.embeddings()[places]

    def rows(self) -> list[Row]:
        """Return what else is written of the rows.

        Raises:
            BundleError: The file cannot be read.
        """
        return [Row(**one) for one in self._read(*Row._fields).to_pylist()]

    def _read(self, *columns: str) -> Any:
        from pyarrow.parquet import ParquetFile

        with _naming(self.file):
            return ParquetFile(self.file).read_row_group(self.group, columns=list(columns), use_threads=False)


class NpySlice(NamedTuple):
    """Some rows of a part of .npy files; as `RowGroup`.

    Attributes:
        stem: Name of the part's files without their suffixes.
        start: Number of the first row in the part.
        size: How many rows there are.
    """

    stem: Path
    start: int
    size: int

    def embeddings(self) -> AnyFloats:
        """Return the embeddings; see `RowGroup`."""
        with _naming(file := _beside(self.stem, EMBEDDING)):
            # A view of the file: the mapping, and what it counts as memory, ends with the view.
            return _mapped(file)[self.start : self.start + self.size]

    def some_embeddings(self, places: list[int]) -> AnyFloats:
        """Return the embeddings at some places; see `RowGroup`."""
        with _naming(file := _beside(self.stem, EMBEDDING)):
            return _mapped(file)[[self.start + place for place in places]]

    def rows(self) -> list[Row]:
        """Return what else is written of the rows; see `RowGroup`."""
        file = _beside(self.stem, KEYS)
        with _naming(file), file.open(encoding="utf-8") as lines:
            return [Row(**parse_json(line)) for line in islice(lines, self.start, self.start + self.size)]


class LanceSlice(NamedTuple):
    """Some rows of a part of Lance; as `RowGroup`.

    Attributes:
        file: The file.
        start: Number of the first row in the part.
        size: How many rows there are.
    """

    file: Path
    start: int
    size: int

    def embeddings(self) -> AnyFloats:
        """Return the embeddings; see `RowGroup`."""
        numbers: AnyFloats = self._read("embedding").column(0).combine_chunks().flatten().to_numpy()
        return numbers.reshape(self.size, -1)

    def some_embeddings(self, places: list[int]) -> AnyFloats:
        """Return the embeddings at some places; see `RowGroup`."""
        return self.embeddings()[places]

    def rows(self) -> list[Row]:
        """Return what else is written of the rows; see `RowGroup`."""
        return [Row(**one) for one in self._read(*Row._fields).to_pylist()]

    def _read(self, *columns: str) -> Any:
        with _naming(self.file):
            return read_rows(self.file, columns, start=self.start, count=self.size)


Piece = RowGroup | NpySlice | LanceSlice


def part_pieces(output: Path, job: Job, number: int) -> Iterator[Piece]:
    """Yield a part's rows in pieces, in order.

    Raises:
        BundleError: The part cannot be read.
    """
    stem = output / DATA / part_name(number)
    if job.rows.format == "npy":
        with _naming(file := _beside(stem, EMBEDDING)):
            count = len(_mapped(file))
        for start in range(0, count, _SLICE_ROWS):
            yield NpySlice(stem, start, min(_SLICE_ROWS, count - start))
        return
    if job.rows.format == "lance":
        with _naming(file := _beside(stem, LANCE)):
            count = count_rows(file)
        for start in range(0, count, _SLICE_ROWS):
            yield LanceSlice(file, start, min(_SLICE_ROWS, count - start))
        return
    from pyarrow.parquet import read_metadata

    with _naming(file := _beside(stem, PARQUET)):
        found = read_metadata(file)
    for group in range(found.num_row_groups):
        # A part of images of which none could be read has an empty one.
        if size := found.row_group(group).num_rows:
            yield RowGroup(file, group, size)


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _mapped(file: Path) -> AnyFloats:
    return load_npy(file, mapped=True)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn what a library says of a damaged part into an error that names it.

    Raises:
        BundleError: The block could not read the file.
    """
    try:
        yield
    # pyarrow's own errors are ValueErrors, KeyErrors and OSErrors.
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{file} cannot be read ({reason}): remove its record in _parts, and run the job again to make it anew"
        ) from error
