"""From a decoded picture of any mode to RGB, upright where that is asked for, and what it lost by that."""

from typing import Any

import numpy as np
from PIL import ExifTags, Image

from runtime.bundle.manifest import Preprocessing
from runtime.images.losses import Losses

# Grey with more than 8 bits, as Pillow has it.
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
# Modes and formats in which 32-bit integers hold 16-bit values: of PNG before Pillow 10.3, and of PGM always.
_HOLDING_16_BITS = frozenset({"PNG", "PPM"})
_MOST = 255
# EXIF's orientation to what makes a picture upright. Source: CIPA DC-008 (Exif 2.32), table 6, tag 0x0112.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(image: Image.Image, preprocessing: Preprocessing | None = None) -> tuple[Image.Image, Losses]:
    """Return a decoded picture as RGB, and what it lost.

    Args:
        image: The picture, loaded. Its `info` may be changed.
        preprocessing: The bundle's contract, of which `exif_rotate` and `depth16` are used; None for timm's.
    """
    turn = _TURNS.get(_orientation(image))
    rotate = preprocessing is not None and preprocessing.exif_rotate
    scale = preprocessing is not None and preprocessing.depth16 == "scale"
    transparent = _is_transparent(image)
    # Dropped either way, but with it Pillow first works out, and warns about, what it would become.
    image.info.pop("transparency", None)
    lost = Losses(turned=turn is not None and not rotate, transparent=transparent)
    if image.mode in _DEEP_GREY:
        if scale and _has_16_bits(image):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        else:
            lost += _measure_deep_grey(np.asarray(image))
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return (rgb.transpose(turn) if turn is not None and rotate else rgb), lost


def _orientation(image: Image.Image) -> Any:
    """Return EXIF's orientation; 1, upright, where it is not stated, or applied by Pillow itself as in TIFF."""
    if image.format == "TIFF":
        return 1
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF, whatever Pillow raises for it, leaves a whole picture as it is
        return 1


def _is_transparent(image: Image.Image) -> bool:
    """Return whether a part of a picture is not opaque."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        alpha = np.asarray(image.getchannel(image.getbands()[-1]))
    elif "transparency" in image.info and image.mode in ("P", "RGB", "L", "1"):
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    else:
        return False
    return bool(alpha.min() < _MOST)


def _has_16_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in _HOLDING_16_BITS)


def _measure_deep_grey(values: Any) -> Losses:
    """Return what grey values lose that become whole numbers of 0 to 255; (H, W) of any number type."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and low >= 0 and 0 < high <= 1:
        return Losses(fractions=1)
    # Also true where a value is NaN.
    return Losses(clipped=not (low >= 0 and high <= _MOST))
