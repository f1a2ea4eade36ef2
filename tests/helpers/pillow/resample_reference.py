"""Pillow's 8-bit antialiased resize in plain NumPy, and the crop after it: the tests' oracle.

Slow and direct, written from the rule and not from the code that it judges. Nothing here calls Pillow.

Source: Pillow 12.3, `src/libImaging/Resample.c`, functions `precompute_coeffs`, `normalize_coeffs_8bpc`,
`ImagingResampleHorizontal_8bpc` and `ImagingResampleVertical_8bpc`.
"""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.uint8]

FRACTION_BITS = 22


def triangle(x: float) -> float:
    """Return the bilinear filter's weight at `x` output pixels from the centre."""
    return max(0.0, 1.0 - abs(x))


def keys_cubic(x: float) -> float:
    """Return the bicubic filter's weight, a = -0.5. Source: Keys 1981, equation 4."""
    a, x = -0.5, abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


FILTERS = {"bilinear": (triangle, 1.0), "bicubic": (keys_cubic, 2.0)}


def resample_rows(image: Array, length: int, interpolation: str) -> Array:
    """Return the image with its first axis resampled: (H, W, C) uint8 to (length, W, C) uint8."""
    weigh, support = FILTERS[interpolation]
    scale = len(image) / length
    filter_scale = max(scale, 1.0)
    out = np.empty((length, *image.shape[1:]), np.uint8)
    for row in range(length):
        centre = (row + 0.5) * scale
        first = max(0, int(centre - support * filter_scale + 0.5))
        last = min(len(image), int(centre + support * filter_scale + 0.5))
        weights = [weigh((index - centre + 0.5) * (1.0 / filter_scale)) for index in range(first, last)]
        total = 0.0
        for weight in weights:
            total += weight
        fixed = [round_half_away(weight * (1.0 / total) * 2**FRACTION_BITS) for weight in weights]
        sums = np.tensordot(np.array(fixed, np.int64), image[first:last].astype(np.int64), axes=1)
        out[row] = np.clip((sums + 2 ** (FRACTION_BITS - 1)) >> FRACTION_BITS, 0, 255)
    return out


def round_half_away(value: float) -> int:
    """Return the nearest integer, a half away from zero, as C's cast after adding or subtracting 0.5."""
    return math.trunc(value + math.copysign(0.5, value))


def evaluation_pixels(image: Array, *, resize: int, crop: int, interpolation: str) -> Array:
    """Return what the contract says: short side to `resize`, horizontal pass first, centre crop.

    Args:
        image: RGB, (H, W, 3) uint8.
        resize: Short side after the resize, pixels.
        crop: Side of the square crop, pixels.
        interpolation: `bilinear` or `bicubic`.
    """
    height, width = image.shape[:2]
    if width <= height:
        new_width, new_height = resize, int(resize * height / width)
    else:
        new_width, new_height = int(resize * width / height), resize
    if new_width != width:
        image = resample_rows(image.swapaxes(0, 1), new_width, interpolation).swapaxes(0, 1)
    if new_height != height:
        image = resample_rows(image, new_height, interpolation)
    top, left = round((new_height - crop) / 2), round((new_width - crop) / 2)
    return image[top : top + crop, left : left + crop]
