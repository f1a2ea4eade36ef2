"""Images whose top-1 class an engine changed: the schema of `changed.json`, and how it is filled."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from runtime.bundle.bundle import first_problem
from runtime.errors import BundleError
from runtime.support.arrays import Floats, Ints, Pixels
from runtime.support.files import atomic_file
from runtime.support.paired_statistics import NO_DECISION, top1_decisions

CHANGED_FILE = "changed.json"
MAX_KEPT = 60
# On the page a thumbnail is at most 96 CSS pixels wide; 128 is sharp enough on a phone, at about 4 kB.
_THUMBNAIL = 128
_JPEG_QUALITY = 80
_NO_CLASS = "none: NaN"


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
        kept: The changed ones with the largest margin of the original first, at most `MAX_KEPT`.
    """

    bundle: str
    engine: str
    precision: str
    images: int
    changed: int
    kept: tuple[ChangedImage, ...]


class Changes(_Part):
    """All of `changed.json`."""

    schema_version: Literal[1] = 1
    engines: tuple[EngineChanges, ...]


def record_changed(
    pixels: Pixels,
    labels: Ints,
    *,
    original: Floats,
    found: Floats,
    classes: Sequence[str],
    names: Sequence[str],
    kept: Sequence[ChangedImage] = (),
    limit: int = MAX_KEPT,
) -> tuple[ChangedImage, ...]:
    """Return the changed images of a batch together with those kept so far, largest margin first.

    Images in which the original decides nothing (NaN) are left out, as they are in the agreement.

    Args:
        pixels: What both networks saw, (N, S, S, 3) uint8.
        labels: True classes, (N,) int64.
        original: The original's logits, (N, C) float32.
        found: The engine's, likewise.
        classes: Names of the C classes.
        names: Names of the N images.
        kept: What earlier batches gave.
        limit: How many are kept.
    """
    truth, decided = top1_decisions(original), top1_decisions(found)
    changed = np.flatnonzero((truth != decided) & (truth != NO_DECISION))
    floor = _rank(kept[limit - 1]) if len(kept) >= limit else -np.inf
    new = []
    for index in changed.tolist():
        margins = (_margin(original[index]), _margin(found[index]))
        # A JPEG costs more than all else here: none is made for an image that is not kept.
        if (margins[0] if margins[0] is not None else -np.inf) < floor:
            continue
        new.append(
            ChangedImage(
                name=names[index],
                label=classes[labels[index]],
                original=classes[truth[index]],
                found=classes[decided[index]] if decided[index] != NO_DECISION else _NO_CLASS,
                margins=margins,
                thumbnail_jpeg_base64=_thumbnail(pixels[index]),
            )
        )
    return keep_clearest((*kept, *new), limit=limit)


def keep_clearest(images: Sequence[ChangedImage], *, limit: int = MAX_KEPT) -> tuple[ChangedImage, ...]:
    """Return the images with the largest margin of the original, the largest first; equal ones in their order."""
    return tuple(sorted(images, key=_rank, reverse=True)[:limit])


def count_changed(original: Floats, found: Floats) -> int:
    """Return how many rows of (N, C) logits have another top-1 class; rows with NaN in the original count not."""
    truth = top1_decisions(original)
    return int(np.count_nonzero((truth != top1_decisions(found)) & (truth != NO_DECISION)))


def write_changes(path: Path, changes: Changes) -> None:
    """Write `changed.json`, whole or not at all.

    Raises:
        BundleError: The file cannot be written.
    """
    with atomic_file(path) as file:
        file.write((changes.model_dump_json(indent=1) + "\n").encode())


def read_changes(path: Path) -> Changes:
    """Return what `write_changes` wrote.

    Raises:
        BundleError: The file cannot be read or is not that.
    """
    try:
        return Changes.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; run `run-ssl compare` again") from error
    except ValidationError as error:
        raise BundleError(
            f"{path} is not a list of changed images ({first_problem(error)}): run `run-ssl compare` again"
        ) from error


def _rank(image: ChangedImage) -> float:
    return image.margins[0] if image.margins[0] is not None else -np.inf


def _margin(logits: Floats) -> float | None:
    if len(logits) < 2 or not np.isfinite(logits).all():
        return None
    second, first = np.partition(logits, -2)[-2:]
    return round(float(first) - float(second), 4)


def _thumbnail(pixels: Pixels) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_JPEG_QUALITY)
    return base64.b64encode(content.getvalue()).decode("ascii")
