"""Where an output's bundle and images were, kept in its `_places.json` for a search that shows pictures.

It is no part of the job's identity: bundle and images may move. Every run adds where it found them.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.embed.output.part_files import PLACES_FILE
from runtime.embed.request import EmbedRequest
from runtime.support.files import read_plain
from runtime.support.json_file import write_model


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImagePlace(_Part):
    """Images as one run was given them.

    Attributes:
        paths: The folders, lists, shards or files, absolute.
        root: Folder from which the paths of a list start, absolute; null for the list's own.
        image_column: Column of encoded images in Parquet files; null where it was found.
        key_column: Column of keys in Parquet files; null where it was found.
    """

    paths: tuple[str, ...]
    root: str | None
    image_column: str | None
    key_column: str | None


class Places(_Part):
    """All of `_places.json`.

    Attributes:
        bundle: Directory of the bundle, absolute, as the last run found it.
        images: Images as the runs found them, each place once.
    """

    bundle: str
    images: tuple[ImagePlace, ...]


def note_places(request: EmbedRequest) -> None:
    """Write where a run finds bundle and images, beside what earlier runs wrote.

    Raises:
        BundleError: The disk cannot take it.
    """
    reading = request.reading
    place = ImagePlace(
        paths=tuple(_text(path) for path in request.images),
        root=_text(reading.root) if reading.root is not None else None,
        image_column=reading.image_column,
        key_column=reading.key_column,
    )
    before = read_places(request.output)
    images = before.images if before is not None else ()
    places = Places(bundle=_text(request.bundle), images=tuple(dict.fromkeys((*images, place))))
    if places != before:
        write_model(request.output / PLACES_FILE, places)


def read_places(output: Path) -> Places | None:
    """Return where bundle and images were, or None where no file says it."""
    try:
        return Places.model_validate_json(read_plain(output / PLACES_FILE))
    except (OSError, ValidationError):
        return None


def _text(path: Path) -> str:
    """Return a path as text that JSON holds; one with odd bytes is not found again, and asked for."""
    return str(path.resolve()).encode("utf-8", "backslashreplace").decode()
