"""Images in Parquet files: a column of encoded images, and one of keys or none.

1. The column of images is the one that `--image-column` names; else the only one of a usual name (`USUAL_IMAGES`)
   that holds bytes; else the only one that holds bytes at all; else the first of text whose first values are paths of
   files that are there, or images in base64. How a column is read is in `runtime/data/sources/image_columns.py`.
2. Keys come from the column that `--key-column` names; else from the first of a usual name (`_USUAL_KEYS`) that
   holds text or whole numbers; else they are `file.parquet:row`, rows from 0; where
   two files have one name, with their paths as given.
3. Columns are read a few rows at a time, whatever the size of a row group. Pages are in memory whole: pyarrow puts up
   to 1,024 values into one, whatever their size, other writers a megabyte.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from runtime.data.sources.entries import Entry, names_in_keys
from runtime.data.sources.image_columns import (
    Cell,
    ColumnKind,
    cell_columns,
    find_image_column,
    listed_columns,
    read_cell,
    type_of_values,
)
from runtime.errors import DataError, UsageError
from runtime.images.formats import PassedOver
from runtime.support.files import check_plain
from runtime.support.words import printable

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
_USUAL_KEYS = ("key", "__key__", "path", "file_name", "filename", "id", "image_id", "url")
# Rows that are decoded into memory at a time: of images, some megabytes; of keys, less.
_IMAGES_AT_ONCE = 32
_KEYS_AT_ONCE = 65536
# What stands for a row that is not there.
_ABSENT: Any = object()
# Without a buffer a whole column chunk, perhaps gigabytes of images, would be read at once.
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files in an order, and what to read of them.

    Attributes:
        files: The files.
        image: The column of encoded images.
        kind: How that column holds them.
        start: Folder that relative paths in it start at, absolute; None for each file's own.
        key: The column of keys; None for row numbers.
    """

    files: tuple[Path, ...]
    image: str
    kind: ColumnKind
    key: str | None
    start: Path | None = None

    @property
    def what(self) -> str:
        """The file, or how many, and the columns."""
        files = str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} Parquet files"
        return f"{files}, images from column {self.image}, keys from {self.key or 'row numbers'}"

    @property
    def root(self) -> str:
        """The first file."""
        return str(self.files[0])

    def entries(self, _passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the rows; see `Source.entries`."""
        for file, name in zip(self.files, names_in_keys(self.files), strict=True):
            with opened_table(file) as table:
                for row, key in enumerate(self._keys(file, name, table)):
                    yield Entry(key, str(file), row)

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield each entry with its bytes; see `Source.opened`."""
        for file, rows in groupby(entries, key=lambda entry: entry.file):
            with opened_table(Path(file)) as table:
                yield from self._images(table, rows, self.start or Path(file).absolute().parent)

    def _keys(self, file: Path, name: str, table: Any) -> Iterator[str]:
        if self.key is None:
            yield from (f"{name}:{row}" for row in range(table.metadata.num_rows))
            return
        for row, key in enumerate(column_values(file, self.key)):
            if key is None:
                raise DataError(f"{file}: row {row} has no key in column {self.key}: expected one in every row")
            yield printable(str(key))

    def _images(self, table: Any, entries: Iterable[Entry], start: Path) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        groups = range(table.metadata.num_row_groups)
        ends = list(accumulate(table.metadata.row_group(group).num_rows for group in groups))
        for group, here in groupby(entries, key=lambda entry: bisect_right(ends, entry.start)):
            values = enumerate(self._values(table, group), ends[group - 1] if group else 0) if group < len(ends) else ()
            rows = iter(values)
            for entry in here:
                found = next((value for row, value in rows if row == entry.start), _ABSENT)
                if found is _ABSENT:
                    raise DataError(
                        f"{entry.file} has no row {entry.start}, expected one: it is damaged, or was changed; write it "
                        "again"
                    )
                yield entry, partial(read_cell, found, self.kind, start)

    def _values(self, table: Any, group: int) -> Iterator[Cell]:
        """Yield the images of one row group."""
        columns = cell_columns(table.schema_arrow.field(self.image))
        for batch in table.iter_batches(_IMAGES_AT_ONCE, row_groups=[group], columns=columns, use_threads=False):
            yield from batch.column(self.image).to_pylist()


def open_parquet(
    files: Sequence[Path], *, image: str | None, key: str | None, root: Path | None = None
) -> ParquetSource:
    """Return the source that some Parquet files are.

    Args:
        files: The files, at least one; all have the first one's columns.
        image: The column of images; None finds it, rule 1.
        key: The column of keys; None finds it, rule 2.
        root: Folder that relative paths in the column of images start at; None for each file's own.

    Raises:
        UsageError: There is no such column, or more than one that it could be.
        DataError: A file is no Parquet file, or lacks a column.
    """
    start = None if root is None else root.absolute()
    with opened_table(files[0]) as table:
        schema = table.schema_arrow
        chosen, kind = find_image_column(table, files[0], image, start or files[0].absolute().parent)
    keys = _key_column(files[0], schema, key)
    wanted = [name for name in (chosen, keys) if name]
    for file in files[1:]:
        with opened_table(file) as table:
            for name in wanted:
                if (
                    name not in table.schema_arrow.names
                    or table.schema_arrow.field(name).type != schema.field(name).type
                ):
                    raise DataError(f"{file} has no column {name} of {files[0]}, expected files with the same schema")
    return ParquetSource(tuple(files), chosen, kind, keys, start)


def read_schema(file: Path) -> Any:
    """Return the Arrow schema of a Parquet file.

    Raises:
        DataError: The file is no Parquet file.
    """
    with opened_table(file) as table:
        return table.schema_arrow


def column_values(file: Path, name: str) -> Iterator[Any]:
    """Yield all values of a column of small values.

    Raises:
        DataError: The file cannot be read, or lacks the column.
    """
    with opened_table(file) as table:
        if name not in table.schema_arrow.names:
            raise DataError(f"{file} has no column {name}, expected files with the same schema")
        for batch in table.iter_batches(_KEYS_AT_ONCE, columns=[name], use_threads=False):
            yield from batch.column(name).to_pylist()


@contextmanager
def opened_table(file: Path) -> Iterator[Any]:
    """Yield an open Parquet file, its damage named.

    Raises:
        DataError: The file cannot be read, at first or later.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        check_plain(file)
        with ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table:
            yield table
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read as Parquet ({reason}): expected a whole file; copy it again") from error


def _key_column(file: Path, schema: Any, given: str | None) -> str | None:
    """Return the column of keys, or None for row numbers; rule 2."""
    import pyarrow.types as types

    text = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer)
    columns: list[str] = [
        field.name for field in schema if any(of_kind(type_of_values(field.type)) for of_kind in text)
    ]
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"--key-column {given}: expected one of {file} with text or numbers ({listed_columns(columns)})"
            )
        return given
    return next((name for usual in _USUAL_KEYS for name in columns if name.lower() == usual), None)
