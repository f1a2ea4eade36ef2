"""Images whose top-1 class an engine changed: the schema of `changed.json`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from runtime.errors import BundleError
from runtime.support.json_file import read_versioned, write_model


class _Part(BaseModel):
    """A frozen part of the file; no NaN, no infinity, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ChangedImage(_Part):
    """An image that the original and an engine see as different classes.

    Attributes:
        name: File name, or its number in the data set.
        label: Name of its true class.
        original: Name of the class that the original gives it.
        found: Name of the class that the engine gives it.
        margins: Highest less second-highest logit, of the original and of the engine; None where a logit is NaN
            or infinite.
        thumbnail_jpeg_base64: What the network saw, at most 128 pixels wide and high.
    """

    name: str
    label: str
    original: str
    found: str
    margins: tuple[float | None, float | None]
    thumbnail_jpeg_base64: str


class EngineChanges(_Part):
    """What one engine changed.

    Attributes:
        bundle: The bundle that it ran, as the user gave it.
        engine: Name of the engine.
        precision: What it really executed.
        images: Images compared.
        changed: Images whose top-1 class differs.
        kept: The changed ones with the largest margin of the original first, at most
            `runtime.compare.changed_images.MAX_KEPT`.
    """

    bundle: str
    engine: str
    precision: str
    images: int
    changed: int
    kept: tuple[ChangedImage, ...]


class Changes(_Part):
    """All of `changed.json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        engines: Each engine that was compared, with the images that it changed.
    """

    schema_version: Literal[1] = 1
    engines: tuple[EngineChanges, ...]


def write_changes(path: Path, changes: Changes) -> None:
    """Write `changed.json`, whole or not at all.

    Raises:
        BundleError: The file cannot be written.
    """
    write_model(path, changes)


def read_changes(path: Path) -> Changes:
    """Return what `write_changes` wrote.

    Raises:
        BundleError: The file cannot be read, is newer than this version, or is not that.
    """
    again = "run `run-ssl compare --save` again"
    try:
        return read_versioned(path, Changes, otherwise="is not a list of changed images", next_step=again)
    except OSError as error:
        raise BundleError(f"{path} is not a list of changed images ({error.strerror}): {again}") from error
