"""Images whose top-1 class an engine changed, and which of them are kept."""

from collections.abc import Sequence

import numpy as np

from runtime.bundle.results.changed_json import ChangedImage
from runtime.images.thumbnail import jpeg_thumbnail, picture_of
from runtime.support.arrays import Floats, Ints, Pixels
from runtime.support.paired_statistics import NO_DECISION, top1_decisions

MAX_KEPT = 60
_NO_CLASS = "none: NaN"


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
        pixels: What both networks saw, (N, H, W, C) uint8.
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
                thumbnail_jpeg_base64=jpeg_thumbnail(picture_of(pixels[index])),
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


def _rank(image: ChangedImage) -> float:
    return image.margins[0] if image.margins[0] is not None else -np.inf


def _margin(logits: Floats) -> float | None:
    if len(logits) < 2 or not np.isfinite(logits).all():
        return None
    second, first = np.partition(logits, -2)[-2:]
    return round(float(first) - float(second), 4)
