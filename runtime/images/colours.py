"""From a decoded picture of any mode to the network's colours, upright where that is asked for, and what it lost.

1. The colours are the contract's: `RGB`, `L` or `RGBA`, by Pillow's `convert`, as timm's `input_img_mode` has it.
2. Grey of more than 8 bits becomes `L` first, clipped or scaled.
3. For `RGBA` the fourth band of an `RGBX` picture, of unknown meaning in a TIFF, is data: Pillow's `convert` would put
   255 in its place.
"""

from typing import Any

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from runtime.bundle.manifest import Colour, Preprocessing
from runtime.images.losses import Losses

# Grey with more than 8 bits, as Pillow has it.
_DEEP_GREY = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
# Modes and formats in which 32-bit integers hold 16-bit values: of PNG before Pillow 10.3, and of PGM always.
_HOLDING_16_BITS = frozenset({"PNG", "PPM"})
_MOST = 255
# Modes that have a fourth channel or alpha, and those without colours.
_WITH_ALPHA = frozenset({"RGBA", "RGBa", "RGBX", "LA", "La", "PA"})
_GREY = frozenset({"1", "L", "LA", "La"}) | _DEEP_GREY
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


def to_colours(image: Image.Image, preprocessing: Preprocessing | None = None) -> tuple[Image.Image, Losses]:
    """Return a decoded picture in the network's colours, and what it lost.

    Args:
        image: The picture, loaded. Its `info` may be changed.
        preprocessing: The bundle's contract, of which `colour`, `exif_rotate` and `depth16` are used; None for timm's,
            RGB.
    """
    colour = preprocessing.colour if preprocessing is not None else "RGB"
    turn = _TURNS.get(_orientation(image))
    rotate = preprocessing is not None and preprocessing.exif_rotate
    scale = preprocessing is not None and preprocessing.depth16 == "scale"
    lost = Losses(turned=turn is not None and not rotate)
    if colour == "RGBA":
        lost += Losses(opaque=not _has_fourth_channel(image))
    else:
        lost += Losses(transparent=_is_transparent(image), coloured=colour == "L" and _is_coloured(image))
        # Dropped either way, but with it Pillow first works out, and warns about, what it would become.
        image.info.pop("transparency", None)
    if image.mode in _DEEP_GREY:
        if scale and _has_16_bits(image):
            high = (np.asarray(image) >> 8).astype(np.uint8)
            # Pillow turns grey of 8 bits round, and leaves 16 bits as they are.
            image = Image.fromarray(_MOST - high if _zero_is_white(image) else high)
        else:
            lost += _measure_deep_grey(np.asarray(image))
    converted = convert(image, colour)
    return (converted.transpose(turn) if turn is not None and rotate else converted), lost


def convert(image: Image.Image, colour: Colour) -> Image.Image:
    """Return a picture in these colours, itself where it has them; rules 1 to 3."""
    if image.mode == colour:
        return image
    if colour == "RGBA" and image.mode == "RGBX":
        return Image.merge(colour, image.split())
    if colour == "RGBA" and image.mode in _DEEP_GREY:
        return image.convert("L").convert(colour)
    return image.convert(colour)


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
    elif image.mode in _DEEP_GREY:
        # One grey, which Pillow's `convert` takes no notice of.
        grey = image.info.get("transparency")
        return grey is not None and bool((np.asarray(image) == grey).any())
    elif "transparency" in image.info and image.mode in ("P", "RGB", "L", "1"):
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    else:
        return False
    return bool(alpha.min() < _MOST)


def _has_fourth_channel(image: Image.Image) -> bool:
    return image.mode in _WITH_ALPHA or "transparency" in image.info


def _is_coloured(image: Image.Image) -> bool:
    """Return whether a pixel of a picture is not grey."""
    if image.mode in _GREY:
        return False
    red, green, blue = (np.asarray(band) for band in image.convert("RGB").split())
    return not (np.array_equal(red, green) and np.array_equal(red, blue))


def _has_16_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in _HOLDING_16_BITS)


def _zero_is_white(image: Image.Image) -> bool:
    """Return whether a TIFF says so: its PhotometricInterpretation is 0 (TIFF 6.0, section 8)."""
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return bool(tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0)


def _measure_deep_grey(values: Any) -> Losses:
    """Return what grey values lose that become whole numbers of 0 to 255; (H, W) of any number type."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and low >= 0 and 0 < high <= 1:
        return Losses(fractions=1)
    # Also true where a value is NaN.
    return Losses(clipped=not (low >= 0 and high <= _MOST))
