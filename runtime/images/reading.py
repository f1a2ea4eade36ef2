"""Image files, read as timm reads them, `Image.open(file).convert("RGB")`, unless the bundle says otherwise.

    what is in the file            what the network sees
    -----------------------------  ------------------------------------------------------------------
    EXIF orientation               not applied, the pixels as stored; with `exif_rotate` the picture is turned.
                                   TIFF: Pillow turns it whatever is chosen
    grey, 8 bit                    the value in all three channels
    1 bit                          0 or 255
    palette                        the palette's colours; transparency dropped, not blended
    alpha (RGBA, LA)               dropped, not blended: hidden colours become visible
    CMYK (also Adobe JPEG)         Pillow's own conversion, without the colour profile
    grey, 16 or 32 bit, or float   the value **clipped** to 0..255, not scaled: 16-bit greyscale is
                                   mostly white. timm does that too. With `depth16` "scale" 16-bit greyscale is the
                                   high byte of every value, as in 16-bit RGB; of a TIFF whose 0 is white
                                   it is turned round, as Pillow does for 8 bits
    RGB or RGBA, 16 bit            the high byte of every value
    grey with alpha, 16 bit        the high byte; alpha dropped
    progressive JPEG               as any JPEG
    several frames or pages        the first one
    colour profile (ICC)           not applied

A network of one channel sees `convert("L")` instead: grey values as they are, of colours the luminance, which
is 0.299 R + 0.587 G + 0.114 B. One of four sees `convert("RGBA")`: alpha is its fourth channel, 255 where a
picture has none. Of a TIFF whose fourth band has no stated meaning newer Pillows leave that band out, which is said.

What an image lost by that is counted (`runtime/images/losses.py`).

Refused with a DataError that names the file: what Pillow cannot identify, truncated files, TIFFs and JPEG 2000
files that it garbles (`_refuse_garbled`), and decompression bombs (more than twice Pillow's `MAX_IMAGE_PIXELS`, about
179 million pixels). Where the machine is the reason and not the file (no memory, too many open files), it
is a MachineError, which no option skips: the rest of the images would be called unreadable one after the
other.

Pillow's warnings (corrupt EXIF, which ImageNet itself holds; a large picture; a malformed APNG) say
nothing about pixels and are silenced while a file is read. Silencing changes Python's warning filters,
which all threads share, so it is done once around all reads of a loop (`pillow_silenced`), never
inside a worker thread.
"""

import errno
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image, TiffImagePlugin

from runtime.bundle.manifest import Preprocessing
from runtime.errors import DataError, MachineError
from runtime.images.colours import to_colours
from runtime.images.losses import Losses
from runtime.images.preprocessing import preprocess
from runtime.support.arrays import Pixels
from runtime.support.files import check_plain

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
# Not the image's fault, beside MemoryError: files open, memory, and a server of files that is away.
_MACHINES_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN}
)
# Pillow's raw modes of grey PNGs of 2 and 4 bits, to what it multiplies their pixels by, and that of 16-bit colours.
_GREY_OF_FEW_BITS = {"L;2": 85, "L;4": 17}
_WHITE = 255
_COLOURS_OF_16_BITS = "RGB;16B"
# TIFF 6.0, section 8, PlanarConfiguration.
_BAND_AFTER_BAND = 2
# ISO/IEC 15444-1: how a codestream begins. The boxes before it, such as a colour profile, are smaller than the rest.
_SOC_SIZ = b"\xff\x4f\xff\x51"
_JPEG2000_HEAD = 1 << 20
_RESUME = "run the same command again to resume"


@contextmanager
def pillow_silenced() -> Iterator[None]:
    """Silence Pillow's warnings until the block ends. Enter it in one thread only; see the module."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


class ReadImage(NamedTuple):
    """A picture that was read.

    Attributes:
        picture: The picture, in the network's colours, decoded.
        lost: What it lost on the way.
    """

    picture: Image.Image
    lost: Losses


def open_image(path: Path, preprocessing: Preprocessing | None = None) -> Image.Image:
    """Return the picture in a file: in the network's colours, decoded, the file closed.

    Args:
        path: The file.
        preprocessing: The bundle's contract, of which `colour`, `exif_rotate` and `depth16` are used; None for timm's,
            RGB.

    Raises:
        DataError: The file is absent, is no image, is damaged, or is a decompression bomb.
        MachineError: The machine, not the file, is the reason.
    """
    with pillow_silenced():
        return decode(path, str(path), preprocessing).picture


def load_pixels(path: str | Path, preprocessing: Preprocessing) -> Pixels:
    """Return the network's pixels for one file, (height, width, channels) uint8.

    Raises:
        DataError: The file cannot be read; see `open_image`.
    """
    return preprocess(open_image(Path(path), preprocessing), preprocessing)


def decode(source: Path | BinaryIO, name: str, preprocessing: Preprocessing | None = None) -> ReadImage:
    """Return the picture in `source`, in the network's colours; warning filters are not touched, for worker threads.

    Args:
        source: A file's path, or its open binary contents.
        name: What messages call it.
        preprocessing: The bundle's contract, of which `colour`, `exif_rotate` and `depth16` are used; None for timm's,
            RGB.

    Raises:
        DataError: The file is absent, is no image, is damaged, or is a decompression bomb.
        MachineError: The machine, not the image, is the reason.
    """
    with naming_damage(name):
        return read_picture(source, preprocessing)


def read_picture(source: Path | BinaryIO, preprocessing: Preprocessing | None = None) -> ReadImage:
    """Return the picture in `source`, in the network's colours; what Pillow raises is among `UNREADABLE`."""
    if isinstance(source, Path):
        # Pillow opens it itself, and would wait for a pipe's writer.
        check_plain(source)
    with Image.open(source) as image:
        _refuse_garbled(image)
        if preprocessing is None or preprocessing.colour != "RGBA":
            _scale_transparent_colour(image)
        image.load()
        return ReadImage(*to_colours(image, preprocessing))


def _scale_transparent_colour(image: Image.Image) -> None:
    """Give the transparent colour of a PNG the numbers that its pixels get in 8 bits; seen with Pillow 13.0.0.

    Pillow scales grey of 2 and 4 bits, takes the high bytes of colours of 16 bits, and leaves this colour as it is in
    the file, so that no pixel has it. Here it counts what is lost; an RGBA network is given what Pillow reads, as timm
    gives it. A pixel that has the colour's high bytes alone counts too.
    """
    tiles = image.tile if image.format == "PNG" else []  # type: ignore[attr-defined]
    stored, colour = tiles[0][3] if tiles else "", image.info.get("transparency")
    factor = _GREY_OF_FEW_BITS.get(stored)
    if factor is not None and isinstance(colour, int) and colour * factor <= _WHITE:
        image.info["transparency"] = colour * factor
    elif stored == _COLOURS_OF_16_BITS and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _refuse_garbled(image: Image.Image) -> None:
    """Refuse what Pillow reads as another picture; seen with Pillow 13.0.0.

    1. A TIFF of two bytes a value, uncompressed, one band after the other: of each value Pillow makes two neighbours,
       and half of the picture is missing.
    2. A JPEG 2000 of more than 8 bits with several channels: what is nearly white becomes 0, each channel for itself.
    """
    if image.format == "JPEG2000" and len(image.getbands()) > 1 and (bits := _jpeg2000_bits(image)) > 8:
        raise OSError(f"a JPEG 2000 of {bits} bits a channel, whose white Pillow reads as black; convert it to 8 bits")
    if image.format != "TIFF":
        return
    tags = image.tag_v2  # type: ignore[attr-defined]
    tiles = image.tile  # type: ignore[attr-defined]
    by_band = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == _BAND_AFTER_BAND
    wide = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8
    if by_band and wide and len(image.getbands()) > 1 and all(tile[0] == "raw" for tile in tiles):
        raise OSError(
            "16-bit bands one after the other, uncompressed, which Pillow garbles; compress it, or interleave"
        )


def _jpeg2000_bits(image: Image.Image) -> int:
    """Return the most bits of a channel of a JPEG 2000; 0 where its header is not found.

    Source: ISO/IEC 15444-1, A.5.1: behind the markers SOC and SIZ stand 36 bytes, the number of components in two, and
    for each three, of which the low 7 bits of the first are its bits less one.
    """
    file = image.fp  # type: ignore[attr-defined]
    where = file.tell()
    file.seek(0)
    head = file.read(_JPEG2000_HEAD)
    file.seek(where)
    start = head.find(_SOC_SIZ)
    first = start + len(_SOC_SIZ) + 36
    if start < 0:
        return 0
    channels = int.from_bytes(head[first : first + 2], "big")
    return max(((one & 0x7F) + 1 for one in head[first + 2 : first + 2 + 3 * channels : 3]), default=0)


@contextmanager
def naming_damage(name: str) -> Iterator[None]:
    """Turn what Pillow raises for a damaged file into a DataError that names it.

    Raises:
        DataError: The block could not read the file.
        MachineError: The machine, not the file, is the reason.
    """
    try:
        with naming_machines_faults(name):
            yield
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name} cannot be read as an image ({reason}): expected a whole file in a format that Pillow knows; "
            "replace it, or leave it out (run-ssl: --skip-unreadable)"
        ) from error


@contextmanager
def naming_machines_faults(name: str, *, resumes: bool = False) -> Iterator[None]:
    """Turn an error that is the machine's fault, not the image's, into a MachineError that names the image.

    Args:
        name: What the message calls the image.
        resumes: Whether a job that is started again goes on where it stopped.

    Raises:
        MachineError: There is no memory, too many files are open, or a server of files is away.
    """
    try:
        yield
    except MemoryError as error:
        then = f", and {_RESUME}" if resumes else ", and start again"
        raise MachineError(
            f"there is not enough memory to decode {name}: free some, or leave the image out{then}"
        ) from error
    except OSError as error:
        if error.errno not in _MACHINES_FAULTS:
            raise
        then = f"the job stops; {_RESUME}"
        if not resumes:
            then = "the image may be whole, so it is not skipped; start again when the machine can read it"
        raise MachineError(f"{name} cannot be read now ({error.strerror}): {then}") from error
