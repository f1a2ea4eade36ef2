"""The files of one part, read piece by piece: row groups of Parquet, slices of Lance and of .npy."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.embed.output.identity import Job
from runtime.embed.output.lance_part import SUFFIX as LANCE
from runtime.embed.output.lance_part import count_rows, read_rows
from runtime.embed.output.npy_part import EMBEDDING, KEYS
from runtime.embed.output.parquet_part import SUFFIX as PARQUET
from runtime.embed.output.part_files import DATA, part_name
from runtime.errors import BundleError
from runtime.support.arrays import AnyFloats
from runtime.support.files import open_plain
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


def _row(found: Any) -> Row:
    """Return what a file says of a row.

    Raises:
        ValueError: The row has no key or no hash, or one that is no text.
    """
    key, sha256 = (found.get("key"), found.get("sha256")) if isinstance(found, dict) else (None, None)
    if not isinstance(key, str) or not isinstance(sha256, str):
        raise ValueError("a row has no key or no sha256")
    return Row(key, sha256)


def _of_shape(numbers: AnyFloats, rows: int, width: int) -> AnyFloats:
    """Return embeddings as (rows, width).

    Raises:
        ValueError: The embeddings are of another type, or are not as many numbers.
    """
    if numbers.dtype not in (np.float16, np.float32) or numbers.size != rows * width:
        raise ValueError(
            f"it has {numbers.size} numbers of {numbers.dtype}, expected {rows} embeddings of {width} numbers in "
            "float16 or float32"
        )
    return numbers.reshape(rows, width)


def _column(table: Any, rows: int, width: int) -> AnyFloats:
    """Return the embeddings of a `pyarrow.Table`, (rows, width).

    Raises:
        ValueError: The column is absent, is no list of numbers, or `_of_shape` refuses it.
        KeyError: The column is absent.
    """
    from pyarrow import types

    column = table.column("embedding").combine_chunks()
    if not (types.is_list(column.type) or types.is_fixed_size_list(column.type)):
        raise ValueError(f"its embeddings are of type {column.type}, expected lists of numbers")
    return _of_shape(column.flatten().to_numpy(), rows, width)


class RowGroup(NamedTuple):
    """A row group of a Parquet file; nothing of it is read until it is asked for, in any thread.

    Attributes:
        file: The file.
        group: Number of the row group in the file.
        size: How many rows it has.
        width: How many numbers an embedding has.
    """

    file: Path
    group: int
    size: int
    width: int

    def embeddings(self) -> AnyFloats:
        """Return the embeddings, (N, D) float32 or float16.

        Raises:
            BundleError: The file cannot be read.
        """
        with _naming(self.file):
            return _column(self._read("embedding"), self.size, self.width)

    def some_embeddings(self, places: list[int]) -> AnyFloats:
        """Return the embeddings at some places of the piece, (places, D), in memory of their own."""
        return self.embeddings()[places]

    def rows(self) -> list[Row]:
        """Return what else is written of the rows.

        Raises:
            BundleError: The file cannot be read.
        """
        with _naming(self.file):
            return [_row(one) for one in self._read(*Row._fields).to_pylist()]

    def _read(self, *columns: str) -> Any:
        from pyarrow.parquet import ParquetFile

        return ParquetFile(self.file).read_row_group(self.group, columns=list(columns), use_threads=False)


class NpySlice(NamedTuple):
    """Some rows of a part of .npy files; as `RowGroup`.

    Attributes:
        stem: Name of the part's files without their suffixes.
        start: Number of the first row in the part.
        size: How many rows there are.
        width: How many numbers an embedding has.
    """

    stem: Path
    start: int
    size: int
    width: int

    def embeddings(self) -> AnyFloats:
        """Return the embeddings; see `RowGroup`."""
        with _naming(file := _beside(self.stem, EMBEDDING)):
            # A view of the file: the mapping, and what it counts as memory, ends with the view.
            return _of_shape(_mapped(file)[self.start : self.start + self.size], self.size, self.width)

    def some_embeddings(self, places: list[int]) -> AnyFloats:
        """Return the embeddings at some places; see `RowGroup`."""
        with _naming(file := _beside(self.stem, EMBEDDING)):
            return _of_shape(_mapped(file)[[self.start + place for place in places]], len(places), self.width)

    def rows(self) -> list[Row]:
        """Return what else is written of the rows; see `RowGroup`."""
        file = _beside(self.stem, KEYS)
        with _naming(file), TextIOWrapper(open_plain(file), encoding="utf-8") as lines:
            found = [_row(parse_json(line)) for line in islice(lines, self.start, self.start + self.size)]
            if len(found) != self.size:
                raise ValueError(f"it has fewer lines than the {self.size} that were expected from {self.start} on")
            return found


class LanceSlice(NamedTuple):
    """Some rows of a part of Lance; as `RowGroup`.

    Attributes:
        file: The file.
        start: Number of the first row in the part.
        size: How many rows there are.
        width: How many numbers an embedding has.
    """

    file: Path
    start: int
    size: int
    width: int

    def embeddings(self) -> AnyFloats:
        """Return the embeddings; see `RowGroup`."""
        with _naming(self.file):
            return _column(self._read("embedding"), self.size, self.width)

    def some_embeddings(self, places: list[int]) -> AnyFloats:
        """Return the embeddings at some places; see `RowGroup`."""
        return self.embeddings()[places]

    def rows(self) -> list[Row]:
        """Return what else is written of the rows; see `RowGroup`."""
        with _naming(self.file):
            return [_row(one) for one in self._read(*Row._fields).to_pylist()]

    def _read(self, *columns: str) -> Any:
        return read_rows(self.file, columns, start=self.start, count=self.size)


Piece = RowGroup | NpySlice | LanceSlice


def part_pieces(output: Path, job: Job, number: int, rows: int) -> Iterator[Piece]:
    """Yield a part's rows in pieces, in order.

    Args:
        output: The output's directory.
        job: What it is of.
        number: Number of the part.
        rows: How many rows the part's record says it has.

    Raises:
        BundleError: The part cannot be read, or has another number of rows.
    """
    pieces = list(_pieces_of(output / DATA / part_name(number), job))
    found = sum(piece.size for piece in pieces)
    if found != rows:
        raise BundleError(
            f"{output / DATA / part_name(number)} has {found} rows, its record says {rows}: remove its record in "
            "_parts, and run the job again to make it anew"
        )
    yield from pieces


def _pieces_of(stem: Path, job: Job) -> Iterator[Piece]:
    width = job.bundle.embedding_dim
    if job.rows.format == "npy":
        with _naming(file := _beside(stem, EMBEDDING)):
            count = len(_mapped(file))
        for start in range(0, count, _SLICE_ROWS):
            yield NpySlice(stem, start, min(_SLICE_ROWS, count - start), width)
        return
    if job.rows.format == "lance":
        with _naming(file := _beside(stem, LANCE)):
            count = count_rows(file)
        for start in range(0, count, _SLICE_ROWS):
            yield LanceSlice(file, start, min(_SLICE_ROWS, count - start), width)
        return
    from pyarrow.parquet import read_metadata

    with _naming(file := _beside(stem, PARQUET)):
        found = read_metadata(file)
        sizes = [found.row_group(group).num_rows for group in range(found.num_row_groups)]
    for group, size in enumerate(sizes):
        # A part of images of which none could be read has an empty one.
        if size:
            yield RowGroup(file, group, size, width)


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
    # pyarrow's own errors are all of these.
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{file} cannot be read ({reason}): remove its record in _parts, and run the job again to make it anew"
        ) from error
