"""The column of a Parquet file that holds images, found and read.

    kind      a cell holds                                                   who writes it
    --------  -------------------------------------------------------------  ----------------------------------------
    bytes     the bytes of an image file                                     img2dataset, Daft, pandas
    struct    `bytes`, and `path` where these are null                       Hugging Face datasets
    paths     the path of a file                                             lists of images with what is known of them
    base64    such bytes as text, also as a data URI (`data:image/png;…`)     exports of JSON and of APIs

A cell may be null: the row then has no image, and is unreadable. URLs are not fetched.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from runtime.errors import UsageError
from runtime.images.formats import is_image
from runtime.support.files import read_plain
from runtime.support.words import first_few

ColumnKind = Literal["bytes", "struct", "paths", "base64"]
Cell = bytes | str | dict[str, Any] | None

USUAL_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "content", "data")
# Rows in which a column of text must show a file or an image, to be taken for one of images.
_ROWS_TRIED = 20
_COLUMNS_SHOWN = 6
_SHOWN_CHARACTERS = 40


def find_image_column(table: Any, file: Path, given: str | None, start: Path) -> tuple[str, ColumnKind]:
    """Return the column of images and how it holds them; rule 1 of `runtime/data/sources/parquet_table.py`.

    Args:
        table: The open Parquet file.
        file: Path of the table, for messages.
        given: The column that the user names.
        start: Folder that relative paths start at.

    Raises:
        UsageError: There is no such column, or more than one that it could be.
    """
    schema = table.schema_arrow
    columns: list[str] = [field.name for field in schema if _holds_bytes(field.type)]
    if given is not None:
        if given not in schema.names:
            raise UsageError(f"--image-column {given}: expected one of {file} ({listed_columns(schema.names)})")
        return given, _kind_of(table, file, given, start)
    for found in ([name for name in columns if name.lower() in USUAL_IMAGES], columns):
        if len(found) == 1:
            return found[0], _bytes_or_struct(schema, found[0])
    if columns:
        raise UsageError(
            f"{file} has {len(columns)} columns of bytes ({listed_columns(columns)}): name one with --image-column"
        )
    texts = [field.name for field in schema if _is_text(field.type)]
    first = {name: _first_values(table, name) for name in texts}
    for name in texts:
        kind = _text_kind(first[name], start)
        if kind is not None:
            return name, kind
    urls = [name for name in texts if any("://" in value for value in first[name])]
    if urls:
        raise UsageError(
            f"{file} has URLs in column {urls[0]} ({first[urls[0]][0][:_SHOWN_CHARACTERS]}) and no images: download "
            "them first, for example with img2dataset, and pass its output"
        )
    raise UsageError(
        f"{file} has no column of images: expected bytes, paths of files (from {start}, or --root) or base64 text, "
        f"found {_described(schema)}; pass a file with images, or say with --root where paths start"
    )


def cell_columns(field: Any) -> list[str]:
    """Return what to read of a column; of a struct its bytes and path alone."""
    if not _is_struct(field.type):
        return [field.name]
    inside = [part.name for part in field.type]
    return [f"{field.name}.{part}" for part in ("bytes", "path") if part in inside]


def read_cell(cell: Cell, kind: ColumnKind, start: Path) -> bytes:
    """Return the bytes of a cell's image.

    Args:
        cell: What the column holds.
        kind: How.
        start: Folder that relative paths start at.

    Raises:
        ValueError: The row has no image.
        OSError: The file of the row cannot be read.
    """
    contents, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, cell)
    if isinstance(contents, bytes):
        return contents
    if isinstance(contents, str) and kind == "base64":
        return _decode(contents)
    if not isinstance(path, str) or not path:
        raise ValueError("the row has no image")
    if not (start / path).exists():
        raise ValueError(f"the row has no image: {path} is not there")
    return read_plain(start / path, most_bytes=None)


def listed_columns(names: Sequence[str]) -> str:
    """Return the first columns of a table by name."""
    return first_few(names, shown=_COLUMNS_SHOWN) or "there is none"


def _kind_of(table: Any, file: Path, name: str, start: Path) -> ColumnKind:
    kind = table.schema_arrow.field(name).type
    if _holds_bytes(kind):
        return _bytes_or_struct(table.schema_arrow, name)
    found = _text_kind(_first_values(table, name), start) if _is_text(kind) else None
    if found is None:
        raise UsageError(
            f"--image-column {name}: expected one of {file} that holds bytes, paths of files (from {start}, or --root) "
            f"or base64 text, found {_described([table.schema_arrow.field(name)])}"
        )
    return found


def _bytes_or_struct(schema: Any, name: str) -> ColumnKind:
    return "struct" if _is_struct(schema.field(name).type) else "bytes"


def _text_kind(values: Sequence[str], start: Path) -> ColumnKind | None:
    """Return what a column of text holds, by its first values; None for neither paths nor images."""
    if any(_leads_to_file(value, start) for value in values):
        return "paths"
    for value in values:
        try:
            contents = _decode(value)
        except ValueError:
            continue
        if is_image("", partial(io.BytesIO, contents)):
            return "base64"
    return None


def _leads_to_file(value: str, start: Path) -> bool:
    try:
        return (start / value).is_file()
    except (OSError, ValueError):
        # Text that is too long for a path, or holds a zero byte.
        return False


def _decode(text: str) -> bytes:
    """Return the bytes of base64 text or a data URI.

    Raises:
        ValueError: The text is neither.
    """
    _, comma, coded = text.partition(",") if text.startswith("data:") else ("", "", text)
    try:
        # URL-safe letters and line breaks are as good.
        plain = "".join((coded if comma or coded else text).split()).translate(str.maketrans("-_", "+/"))
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the row has text that is not base64") from error


def _first_values(table: Any, name: str) -> list[str]:
    """Return the first values of a column of text that are not null."""
    batch = next(table.iter_batches(_ROWS_TRIED, columns=[name], use_threads=False), None)
    return [value for value in batch.column(name).to_pylist() if value] if batch is not None else []


def _described(fields: Any) -> str:
    """Return the first columns with their types."""
    return first_few([f"{field.name} ({_short(field.type)})" for field in fields], shown=_COLUMNS_SHOWN) or "no column"


def _short(kind: Any) -> str:
    return str(kind)[:_SHOWN_CHARACTERS]


def type_of_values(kind: Any) -> Any:
    """Return the Arrow type of a column's values: of a dictionary, such as pandas' and Polars' categories, theirs."""
    import pyarrow.types as types

    return kind.value_type if types.is_dictionary(kind) else kind


def _holds_bytes(kind: Any) -> bool:
    import pyarrow.types as types

    kind = type_of_values(kind)
    if _is_struct(kind):
        return any(field.name == "bytes" and (_holds_bytes(field.type) or types.is_null(field.type)) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_struct(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_struct(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    kind = type_of_values(kind)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
