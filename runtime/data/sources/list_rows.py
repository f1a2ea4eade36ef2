"""Lists of images: a path per line, `path label` lines, or a table with a column of paths.

1. The first lines decide the layout of the whole list. A table ends in `.csv` or `.tsv`, or begins with a header that
   has a column of paths (`PATH_COLUMNS`); it may have one of labels (`LABEL_COLUMNS`). Without a header its first
   column is the path, and its second the label.
2. Other lists have a path per line if one of the first lines, as it is, leads to a file; or else `path label` lines,
   apart by a space, tab, comma or semicolon, where the part before the last of these (or behind an image's ending)
   leads to one.
3. A list is UTF-8; a byte order mark, spaces around a line and blank lines do not count.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from runtime.errors import DataError
from runtime.images.formats import IMAGE_SUFFIXES
from runtime.support.files import open_plain

# The surest first.
PATH_COLUMNS = (
    "path", "image_path", "file_path", "filepath", "file", "file_name", "filename", "image", "img", "img_path",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "class_id", "cls", "target", "category", "wnid")
# A list whose first lines name no file at all is taken to be read from the wrong folder.
_LINES_TRIED = 20
_SHOWN_CHARACTERS = 60
_ENDINGS = "|".join(sorted(re.escape(suffix) for suffix in IMAGE_SUFFIXES))
# A path with spaces ends where an image's ending does; one without an ending, before the last word.
_PATH_LABEL = (
    re.compile(rf"(?P<path>.+?(?:{_ENDINGS}))\"?\s*[\s,;]\s*(?P<label>\S.*)", re.IGNORECASE),
    re.compile(r"(?P<path>.+?)\s*[\s,;]\s*(?P<label>[^\s,;]+)"),
)


class ListRow(NamedTuple):
    """One image of a list, and its class as written; None where the list has none."""

    path: str
    label: str | None


@dataclass(frozen=True)
class ListLayout:
    """How the lines of a list are read.

    Attributes:
        kind: `paths`, `path label` or `table`.
        delimiter: What separates a table's columns.
        header: Whether a table's first row names its columns.
        path: Column of the paths, from 0.
        label: Column of the labels; None for none.
    """

    kind: Literal["paths", "path label", "table"]
    delimiter: str = ""
    header: bool = False
    path: int = 0
    label: int | None = None


def find_layout(file: Path, start: Path) -> ListLayout:
    """Return how a list is to be read; rules 1 and 2.

    Args:
        file: The list.
        start: Where its relative paths start.

    Raises:
        DataError: The list cannot be read, is not text, or none of its first paths leads to a file.
    """
    first = list(islice(_lines(file), _LINES_TRIED))
    if any("\0" in line for line in first):
        raise DataError(
            f"{file} is not a text file: expected a list of paths, one per line, or a file that ends in "
            ".tar, .parquet or the suffix of an image; unpack it first"
        )
    layouts = [table] if (table := _table_layout(file, first)) else [ListLayout("paths"), ListLayout("path label")]
    for layout in layouts:
        rows = list(_rows(first, layout))
        if not first or any(_is_there(start, row.path) for row in rows):
            return layout
    shown = rows[0].path[:_SHOWN_CHARACTERS] if rows else first[0][:_SHOWN_CHARACTERS]
    if any("://" in line for line in first):
        raise DataError(f"{file} lists URLs ({shown}): download the images first, for example with img2dataset")
    raise DataError(
        f"{file}: none of the first {len(first)} lines leads to a file ({shown!r}): expected a path, `path label` or a "
        f"CSV table with a column such as path, from {start} on; if paths start elsewhere, say where with --root"
    )


def read_rows(file: Path, layout: ListLayout) -> Iterator[ListRow]:
    """Yield the rows of a list.

    Raises:
        DataError: The list cannot be read, or a row lacks a column.
    """
    yield from _rows(_lines(file), layout)


def _lines(file: Path) -> Iterator[str]:
    try:
        with TextIOWrapper(open_plain(file), encoding="utf-8-sig", errors="surrogateescape") as lines:
            yield from (line.strip() for line in lines if line.strip())
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): expected a list with one path per line") from error


def _rows(lines: Iterable[str], layout: ListLayout) -> Iterator[ListRow]:
    if layout.kind == "table":
        columns = csv.reader(lines, delimiter=layout.delimiter)
        for row in islice(columns, int(layout.header), None):
            path = row[layout.path].strip() if layout.path < len(row) else ""
            has_label = layout.label is not None and layout.label < len(row)
            if path:
                yield ListRow(path, row[layout.label].strip() if has_label else None)  # type: ignore[index]
        return
    for line in lines:
        yield _split(line) if layout.kind == "path label" else ListRow(line, None)


def _is_there(start: Path, path: str) -> bool:
    try:
        return (start / path).exists()
    except OSError:
        # Too long for a path.
        return False


def _split(line: str) -> ListRow:
    for pattern in _PATH_LABEL:
        match = pattern.fullmatch(line)
        if match:
            return ListRow(match["path"].strip('"'), match["label"].strip('"'))
    return ListRow(line, None)


def _table_layout(file: Path, first: list[str]) -> ListLayout | None:
    """Return the layout of a table; None for a list of another kind."""
    if not first:
        return None
    delimiter = max(",;\t", key=first[0].count)
    cells = [cell.strip().lower() for cell in next(csv.reader(first[:1], delimiter=delimiter))]
    paths = [name for name in PATH_COLUMNS if name in cells]
    if paths and (len(cells) > 1 or file.suffix.lower() in (".csv", ".tsv")):
        labels = [name for name in LABEL_COLUMNS if name in cells]
        label = cells.index(labels[0]) if labels else None
        return ListLayout("table", delimiter, header=True, path=cells.index(paths[0]), label=label)
    if file.suffix.lower() in (".csv", ".tsv") and len(cells) > 1:
        return ListLayout("table", delimiter, label=1)
    return None
