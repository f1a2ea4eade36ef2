"""Image files, read as timm reads them: `Image.open(file).convert("RGB")`, and nothing else.

    what is in the file            what the network sees
    -----------------------------  ------------------------------------------------------------------
    EXIF orientation               not applied: the pixels as stored
    grey, 8 bit                    the value in all three channels
    1 bit                          0 or 255
    palette                        the palette's colours; transparency dropped, not blended
    alpha (RGBA, LA)               dropped, not blended: hidden colours become visible
    CMYK (also Adobe JPEG)         Pillow's own conversion, without the colour profile
    grey, 16 or 32 bit, or float   the value **clipped** to 0..255, not scaled: 16-bit greyscale is
                                   mostly white. timm does that too; scale such files to 8 bits first
    RGB or RGBA, 16 bit            the high byte of every value
    grey with alpha, 16 bit        the high byte; alpha dropped
    progressive JPEG               as any JPEG
    several frames or pages        the first one
    colour profile (ICC)           not applied

Refused with a DataError that names the file: what Pillow cannot identify, truncated files, and
decompression bombs (more than twice Pillow's `MAX_IMAGE_PIXELS`, about 179 million pixels).

Pillow's warnings (corrupt EXIF, which ImageNet itself holds; a large picture; a malformed APNG) say
nothing about pixels and are silenced while a file is read. Silencing changes Python's warning filters,
which all threads share, so it is done once around all reads of a loop (`pillow_silenced`), never
inside a worker thread.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from runtime.bundle.manifest import Preprocessing
from runtime.errors import DataError
from runtime.images.preprocessing import preprocess
from runtime.support.arrays import Pixels

# What a folder is searched for, in lower case. timm looks for the first three only.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})

# What Pillow's readers raise for a damaged file, all that read images here: OSError for truncation and unknown formats;
# RuntimeError from AVIF, BLP and DDS, AttributeError from SPIDER. Pillow goes by contents, whatever a file is called.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@contextmanager
def pillow_silenced() -> Iterator[None]:
    """Silence Pillow's warnings until the block ends. Enter it in one thread only; see the module."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def open_image(path: Path) -> Image.Image:
    """Return the picture in a file: mode RGB, decoded, the file closed.

    Raises:
        DataError: The file is absent, is no image, is damaged, or is a decompression bomb.
    """
    with pillow_silenced():
        return decode(path, str(path))


def load_pixels(path: str | Path, preprocessing: Preprocessing) -> Pixels:
    """Return the network's pixels for one file, (image_size, image_size, 3) uint8, RGB.

    Raises:
        DataError: The file cannot be read; see `open_image`.
    """
    return preprocess(open_image(Path(path)), preprocessing)


def decode(source: Path | BinaryIO, name: str) -> Image.Image:
    """Return the picture in `source`, mode RGB, without touching the warning filters; for worker threads.

    Args:
        source: A file's path, or its open binary contents.
        name: What messages call it.

    Raises:
        DataError: The file is absent, is no image, is damaged, or is a decompression bomb.
    """
    with naming_damage(name):
        return read_rgb(source)


def read_rgb(source: Path | BinaryIO) -> Image.Image:
    """Return the picture in `source`, mode RGB; what Pillow raises for a damaged one is among `UNREADABLE`."""
    with Image.open(source) as image:
        image.load()
        # Dropped either way, but with it Pillow first works out, and warns about, what it would become.
        image.info.pop("transparency", None)
        return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Turn what Pillow raises for a damaged file into a DataError that names it.

    Raises:
        DataError: The block could not read the file.
    """
    try:
        yield
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name} cannot be read as an image ({reason}): expected a whole file in a format that Pillow knows; "
            "replace it, or leave it out (run-ssl: --skip-unreadable)"
        ) from error
