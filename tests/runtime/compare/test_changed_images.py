"""Images whose top-1 class an engine changed: which are kept, and what is kept of them."""

import base64
import io

import numpy as np
from PIL import Image

from runtime.bundle.results.changed_json import ChangedImage
from runtime.compare.changed_images import MAX_KEPT, record_changed

CLASSES = ("cat", "dog", "owl")


def pictures(count, side=8):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def test_only_images_with_another_class_are_kept_the_surest_first():
    original = np.array([[5, 1, 0], [0, 9, 1], [3, 2, 0], [np.nan, 0, 0], [1, 0, 4]], np.float32)
    found = np.array([[5, 1, 0], [9, 0, 1], [2, 3.5, 0], [0, 1, 0], [np.nan, 0, 4]], np.float32)
    kept = record_changed(
        pictures(5),
        np.array([0, 1, 2, 0, 2]),
        original=original,
        found=found,
        classes=CLASSES,
        names=[f"{number}.jpg" for number in range(5)],
    )
    # By hand: image 1 by 8 logits, image 4 by 3, image 2 by 1; image 3 has NaN in the original.
    assert [(one.name, one.label, one.original, one.found, one.margins) for one in kept] == [
        ("1.jpg", "dog", "dog", "cat", (8.0, 8.0)),
        ("4.jpg", "owl", "owl", "none: NaN", (3.0, None)),
        ("2.jpg", "owl", "cat", "dog", (1.0, 1.5)),
    ]


def test_batches_keep_the_surest_of_all_of_them():
    margins = np.random.default_rng(1).permutation(100).astype(np.float32) + 1
    original = np.stack([margins, np.zeros(100), np.full(100, -1)], axis=1).astype(np.float32)
    found = original[:, [1, 0, 2]]
    kept: tuple[ChangedImage, ...] = ()
    for start in range(0, 100, 10):
        batch = slice(start, start + 10)
        kept = record_changed(
            pictures(10),
            np.zeros(10, np.int64),
            original=original[batch],
            found=found[batch],
            classes=CLASSES,
            names=[f"{number}" for number in range(start, start + 10)],
            kept=kept,
        )
    assert [one.margins[0] for one in kept] == list(range(100, 100 - MAX_KEPT, -1))


def test_a_thumbnail_is_what_the_network_saw_at_most_128_wide():
    pixels = np.full((1, 224, 224, 3), 200, np.uint8)
    logits = np.array([[1, 0, 0]], np.float32)
    (kept,) = record_changed(
        pixels, np.array([0]), original=logits, found=logits[:, ::-1], classes=CLASSES, names=["a"]
    )
    with Image.open(io.BytesIO(base64.b64decode(kept.thumbnail_jpeg_base64))) as image:
        assert (image.format, image.size) == ("JPEG", (128, 128))
        # A flat picture survives JPEG but for rounding.
        assert abs(int(np.asarray(image)[64, 64, 0]) - 200) <= 2
