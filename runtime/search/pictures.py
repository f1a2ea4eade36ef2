"""The pictures of rows that were found, looked for where the job had its images."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path

from PIL import Image

from runtime.data.sources.entries import Entry, Source
from runtime.data.sources.image_files import FolderSource
from runtime.data.sources.open_source import InputChoice, open_source
from runtime.embed.output.places import ImagePlace, read_places
from runtime.errors import ExportSslError
from runtime.images.reading import UNREADABLE, pillow_silenced, read_picture
from runtime.images.thumbnail import jpeg_thumbnail
from runtime.search.parts import Row

# What stands where a picture is not found.
_GREY = (128, 128, 128)


@dataclass(frozen=True)
class FoundPicture:
    """The picture of a row.

    Attributes:
        jpeg_base64: The picture, small; grey where it was not found.
        remark: What a reader must know of it; empty where it is the one that was embedded.
    """

    jpeg_base64: str
    remark: str


def find_pictures(output: Path, rows: Iterable[Row]) -> dict[str, FoundPicture]:
    """Return a picture for the key of each row.

    Args:
        output: The output of the job.
        rows: What was found.
    """
    wanted = {row.key: row for row in rows}
    grey = jpeg_thumbnail(Image.new("RGB", (96, 96), _GREY))
    found = {key: FoundPicture(grey, "picture not found where the job had it") for key in wanted}
    places = read_places(output)
    missing = {*wanted}
    for place in places.images if places is not None else ():
        for key, contents in _contents(place, missing):
            picture = _picture(contents, wanted[key])
            if picture is not None:
                found[key] = picture
                missing.discard(key)
    return found


def _contents(place: ImagePlace, keys: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the encoded bytes of images that a place has."""
    choice = InputChoice(Path(place.root) if place.root is not None else None, place.image_column, place.key_column)
    try:
        source = open_source([Path(path) for path in place.paths], choice)
        for entry, read in source.opened(_entries(source, frozenset(keys))):
            try:
                yield entry.key, read()
            except UNREADABLE:
                continue
    except ExportSslError:
        # The images have moved, and the page says that it did not find them.
        return


def _entries(source: Source, keys: frozenset[str]) -> Iterator[Entry]:
    """Yield the entries of some keys; of one folder its files by their names, else all entries are gone through."""
    if isinstance(source, FolderSource) and not source.prefix:
        direct = [Entry(key, f"{source.folder}/{key}") for key in sorted(keys)]
        if all(Path(entry.file).is_file() for entry in direct):
            yield from direct
            return
    yield from islice((entry for entry in source.entries() if entry.key in keys), len(keys))


def _picture(contents: bytes, row: Row) -> FoundPicture | None:
    try:
        with pillow_silenced():
            small = jpeg_thumbnail(read_picture(BytesIO(contents)).picture)
    except UNREADABLE:
        return None
    same = hashlib.sha256(contents).hexdigest() == row.sha256
    return FoundPicture(small, "" if same else "the file has changed since it was embedded")
