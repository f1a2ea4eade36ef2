"""From a picture to the network's pixels, the same bytes on every Pillow.

The contract:

1. The picture is converted to `colour` by Pillow, `convert("RGB")`: alpha is dropped, not blended;
   `runtime/images/reading.py` lists what that means for every kind of file. EXIF orientation is not applied unless
   `exif_rotate` says so.
2. With the resize mode `short` the short side becomes `resize_size`, the long side int(resize_size * long / short);
   with `cover` ratio = min(height / resize height, width / resize width), and each side becomes round(side / ratio);
   with `squash` both sides become `resize_size`. A picture that has that size already is not resampled.
3. The resize is antialiased (`bilinear`, or `bicubic` with a = -0.5) and made of two one-axis passes,
   horizontal first, each with an 8-bit result, in Pillow's fixed-point arithmetic: per output pixel
   scale = in / out, filter scale f = max(scale, 1), centre c = (x + 0.5) * scale, s = support * f,
   window [max(0, int(c - s + 0.5)), min(in, int(c + s + 0.5))), weights filter((i - c + 0.5) / f)
   normalised in double and rounded to 22 fractional bits.
4. The centre crop of `image_size` starts at int(round((length - kept) / 2)) on either axis;
   Python rounds halves to even.
   With `RGBA` the passes weigh colours by alpha, as Pillow's own `resize` does: they are multiplied by alpha before
   the first pass (`RGBa`), and divided by it after the crop. A picture that is not resampled stays as it is.
5. The result is (height, width, channels) uint8. A graph with a `uint8` input normalises by
   itself; for a float input `normalise` gives (p / 255 - mean) / std in float32, NCHW.

Steps 1 to 4 equal timm's evaluation transform byte for byte on Pillow <= 12.3. Pillow 13 swaps the two
passes for some sizes when it resizes both axes in one call; two calls keep the order on every version.

What a byte of the result does not depend on is not computed: the rows outside the crop's vertical window
before the first pass, and the columns outside the crop between the passes. That saves a
tenth to a fifth of the time (docs/explanation/decisions.md). Choosing columns *before* the first pass would
save more, but shifts the centres in the last bits of a double, so it is not the same rule.

Source: torchvision `Resize` and `CenterCrop`; timm `ResizeKeepRatio` for `cover`; Pillow `src/libImaging/Resample.c`.
"""

import numpy as np
from PIL import Image

from runtime.bundle.manifest import Preprocessing, sides
from runtime.errors import BundleError, DataError
from runtime.images.colours import convert
from runtime.support.arrays import Floats, Pixels
from runtime.support.words import describe_size

# Half the filter's width in output pixels. Source: Pillow, Resample.c.
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
_RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# A 1x20000 line resized to a short side of 256 would take 5 GB. The bound is the one at which Pillow
# refuses to open a picture.
_MAX_RESIZED_PIXELS = 178_956_970


def resized_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Return (width, height) after the short side was brought to `short`; all in pixels.

    Source: torchvision `_compute_resized_output_size`.
    """
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def size_before_crop(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the (width, height) that a picture is resized to; all in pixels. See rule 2."""
    to_height, to_width = sides(preprocessing.resize_size)
    if preprocessing.resize_mode == "short":
        return resized_size(width, height, to_height)
    if preprocessing.resize_mode == "squash":
        return to_width, to_height
    ratio = min(height / to_height, width / to_width)
    return round(width / ratio), round(height / ratio)


def crop_offset(length: int, size: int) -> int:
    """Return where a centre crop of `size` pixels starts on an axis of `length` pixels.

    Source: torchvision `center_crop`.
    """
    return round((length - size) / 2.0)


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Return the network's pixels for one picture, (height, width, channels) uint8.

    Args:
        image: A picture of any mode and size, at least 1x1.
        preprocessing: The bundle's contract.

    Raises:
        DataError: The picture is so long and thin that its resized form would not fit in memory, or is no PIL image.
        BundleError: The contract crops more than it resizes to.
    """
    if not isinstance(image, Image.Image):
        raise DataError(
            f"preprocess was given a {type(image).__name__}, expected a PIL image: make one with Image.fromarray, or "
            "read a file with load_pixels"
        )
    kept, target = sides(preprocessing.image_size), sides(preprocessing.resize_size)
    if target[0] < kept[0] or target[1] < kept[1]:
        raise BundleError(
            f"the bundle resizes to {describe_size(preprocessing.resize_size)} px and crops "
            f"{describe_size(preprocessing.image_size)} px, "
            "expected a crop that is no larger than the resized short side: export the bundle again"
        )
    width, height = size_before_crop(*image.size, preprocessing)
    if width * height > _MAX_RESIZED_PIXELS:
        raise DataError(
            f"an image of {image.width}x{image.height} px would become {width}x{height} px, expected at most "
            f"{_MAX_RESIZED_PIXELS} pixels: crop it, or leave it out"
        )
    cropped = _resize_and_crop(convert(image, preprocessing.colour), (width, height), preprocessing)
    return np.asarray(cropped).reshape(preprocessing.pixels_shape)


def normalise(pixels: Pixels, preprocessing: Preprocessing) -> Floats:
    """Return the float input of a graph that does not normalise by itself.

    Equal to torchvision's `ToTensor` and `Normalize` on the CPU in every bit: the same operations in
    float32, in the same order.

    Args:
        pixels: (N, H, W, C) uint8.
        preprocessing: The bundle's contract, of which mean and std are used.

    Returns:
        (N, C, H, W) float32, contiguous.
    """
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32)
    planes /= np.float32(255)
    planes -= np.asarray(preprocessing.mean, np.float32).reshape(1, -1, 1, 1)
    planes /= np.asarray(preprocessing.std, np.float32).reshape(1, -1, 1, 1)
    return planes


def _resize_and_crop(picture: Image.Image, resized: tuple[int, int], preprocessing: Preprocessing) -> Image.Image:
    """Return the centre crop of the resized picture; see rules 2 to 4."""
    high, wide = sides(preprocessing.image_size)
    left, top = crop_offset(resized[0], wide), crop_offset(resized[1], high)
    if picture.size == resized:
        return picture.crop((left, top, left + wide, top + high))
    filter_ = _RESAMPLE[preprocessing.interpolation]
    weighted = picture.convert("RGBa") if picture.mode == "RGBA" else picture
    first, last = _rows_read(picture.height, resized[1], (top, top + high), _SUPPORT[preprocessing.interpolation])
    rows = weighted.crop((0, first, picture.width, last))
    passed = rows.resize((resized[0], last - first), filter_)
    # A crop beyond the edges pads: the rows are back at their places, with zeros that no kept row reads.
    column = passed.crop((left, -first, left + wide, picture.height - first))
    cropped = column.resize((wide, resized[1]), filter_).crop((0, top, wide, top + high))
    return cropped.convert("RGBA") if picture.mode == "RGBA" else cropped


def _rows_read(height: int, resized: int, kept: tuple[int, int], support: float) -> tuple[int, int]:
    """Return the half-open range of input rows that the vertical pass reads for the rows that are kept.

    Args:
        height: Input rows.
        resized: Output rows.
        kept: Half-open range of the output rows that are wanted.
        support: Half the filter's width, output pixels.
    """
    scale = height / resized
    reach = support * max(scale, 1.0)
    # Rule 3's window, one row wider at either end: what lies there has no weight, so it costs nothing but time.
    first = int((kept[0] + 0.5) * scale - reach + 0.5) - 1
    last = int((kept[1] - 0.5) * scale + reach + 0.5) + 1
    return max(0, first), min(height, last)
