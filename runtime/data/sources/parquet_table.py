"""Images in Parquet files: a column of encoded images, and one of keys or none.

1. The column of images is the one that `--image-column` names; else the only one of a usual name (`_USUAL_IMAGES`)
   that holds bytes; else the only one that holds bytes at all. Hugging Face's image columns, structs with a field
   `bytes`, count.
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

from runtime.data.sources.entries import Entry, names_in_keys, printable
from runtime.errors import DataError, UsageError
from runtime.images.formats import PassedOver
from runtime.support.words import listed

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
_USUAL_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "content", "data")
_USUAL_KEYS = ("key", "__key__", "path", "file_name", "filename", "id", "image_id", "url")
# Rows that are decoded into memory at a time: of images, some megabytes; of keys, less.
_IMAGES_AT_ONCE = 32
_KEYS_AT_ONCE = 65536
# Without a buffer a whole column chunk, perhaps gigabytes of images, would be read at once.
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files in an order, and what to read of them.

    Attributes:
        files: The files.
        image: The column of encoded images.
        nested: Whether that column is a struct with a field `bytes`.
        key: The column of keys; None for row numbers.
    """

    files: tuple[Path, ...]
    image: str
    nested: bool
    key: str | None

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
            with _opened(file) as table:
                for row, key in enumerate(self._keys(file, name, table)):
                    yield Entry(key, str(file), row)

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield each entry with its bytes; see `Source.opened`."""
        for file, rows in groupby(entries, key=lambda entry: entry.file):
            with _opened(Path(file)) as table:
                yield from self._images(table, rows)

    def _keys(self, file: Path, name: str, table: Any) -> Iterator[str]:
        if self.key is None:
            yield from (f"{name}:{row}" for row in range(table.metadata.num_rows))
            return
        row = 0
        for batch in table.iter_batches(_KEYS_AT_ONCE, columns=[self.key], use_threads=False):
            for key in batch.column(self.key).to_pylist():
                if key is None:
                    raise DataError(f"{file}: row {row} has no key in column {self.key}: expected one in every row")
                yield printable(str(key))
                row += 1

    def _images(self, table: Any, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        groups = range(table.metadata.num_row_groups)
        ends = list(accumulate(table.metadata.row_group(group).num_rows for group in groups))
        for group, here in groupby(entries, key=lambda entry: bisect_right(ends, entry.start)):
            values = enumerate(self._values(table, group), ends[group - 1] if group else 0)
            for entry in here:
                value = next(value for row, value in values if row == entry.start)
                yield entry, partial(_present, value)

    def _values(self, table: Any, group: int) -> Iterator[bytes | None]:
        """Yield the images of one row group."""
        column = f"{self.image}.bytes" if self.nested else self.image
        for batch in table.iter_batches(_IMAGES_AT_ONCE, row_groups=[group], columns=[column], use_threads=False):
            for value in batch.column(self.image).to_pylist():
                yield value["bytes"] if self.nested and value is not None else value


def open_parquet(files: Sequence[Path], *, image: str | None, key: str | None) -> ParquetSource:
    """Return the source that some Parquet files are.

    Args:
        files: The files, at least one; all have the first one's columns.
        image: The column of images; None finds it, rule 1.
        key: The column of keys; None finds it, rule 2.

    Raises:
        UsageError: There is no such column, or more than one that it could be.
        DataError: A file is no Parquet file, or lacks a column.
    """
    with _opened(files[0]) as table:
        schema = table.schema_arrow
    chosen = _image_column(files[0], schema, image)
    keys = _key_column(files[0], schema, key)
    wanted = [name for name in (chosen, keys) if name]
    for file in files[1:]:
        with _opened(file) as table:
            for name in wanted:
                if (
                    name not in table.schema_arrow.names
                    or table.schema_arrow.field(name).type != schema.field(name).type
                ):
                    raise DataError(f"{file} has no column {name} of {files[0]}, expected files with the same schema")
    return ParquetSource(tuple(files), chosen, _is_struct(schema.field(chosen).type), keys)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Yield an open Parquet file, its damage named.

    Raises:
        DataError: The file cannot be read, at first or later.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table:
            yield table
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read as Parquet ({reason}): expected a whole file; copy it again") from error


def _image_column(file: Path, schema: Any, given: str | None) -> str:
    """Return the column of images; rule 1."""
    columns: list[str] = [field.name for field in schema if _holds_bytes(field.type)]
    if given is not None:
        if given not in columns:
            raise UsageError(f"--image-column {given}: expected one of {file} that holds bytes ({_listed(columns)})")
        return given
    for found in ([name for name in columns if name.lower() in _USUAL_IMAGES], columns):
        if len(found) == 1:
            return found[0]
    raise UsageError(f"{file} has {len(columns)} columns of bytes ({_listed(columns)}): name one with --image-column")


def _key_column(file: Path, schema: Any, given: str | None) -> str | None:
    """Return the column of keys, or None for row numbers; rule 2."""
    import pyarrow.types as types

    text = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer)
    columns: list[str] = [field.name for field in schema if any(of_kind(field.type) for of_kind in text)]
    if given is not None:
        if given not in columns:
            raise UsageError(f"--key-column {given}: expected one of {file} with text or numbers ({_listed(columns)})")
        return given
    return next((name for usual in _USUAL_KEYS for name in columns if name.lower() == usual), None)


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    if _is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_struct(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_struct(kind))


def _listed(names: Sequence[str]) -> str:
    return listed(names, none="there is none")


def _present(value: bytes | None) -> bytes:
    """Return a cell's bytes; ValueError where it is empty."""
    if value is None:
        raise ValueError("the row has no image")
    return value
