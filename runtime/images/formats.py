"""Which files are images: one list for every command, and the count of what is passed over.

1. A file whose name ends as Pillow's formats do (`IMAGE_SUFFIXES`) is an image, without a look inside: one that is
   damaged is then named as unreadable, not passed over.
2. A file with an ending of `_NEVER_IMAGES` is none. A data set may hold one beside every image: they are not opened.
3. Of every other file, also one without an ending, the contents decide: it is an image if Pillow knows its signature.
   Formats without one (TGA, PCD) go by the ending alone: Pillow takes other files for them.
4. What is no image is counted by its ending, and the command says so at its end.
5. A pipe, a socket or a device, or a link to one, is no image whatever it is called, and is counted as such.

Of Pillow's formats these are left out: those that it only recognises, and decodes with a program or a library that
is not there (EPS, WMF, MPEG, BUFR, GRIB, HDF5).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from runtime.images.reading import UNREADABLE, naming_machines_faults, pillow_silenced
from runtime.support.words import counted, first_few, verb_for


def _endings(words: str) -> frozenset[str]:
    return frozenset(f".{word}" for word in words.split())


# Lower case. Source: PIL.Image.registered_extensions() of Pillow 13; written out so that the same files are read on
# every version. A test compares them.
IMAGE_SUFFIXES = _endings(
    "apng avif avifs blp bmp bw cur dcx dds dib fit fits flc fli ftc ftu gbr gif icb icns ico im j2c j2k jfif jp2 jpc "
    "jpe jpeg jpf jpg jpx mpo msp pbm pcd pcx pfm pgm png pnm ppm psd pxr qoi ras rgb rgba sgi tga tif tiff vda vst "
    "webp xbm xpm"
)
# Beside images in data sets.
_ARRAYS = _endings("npy npz")
_COMPANIONS = _endings("txt json jsonl cls csv tsv xml yaml yml html md parquet pq tar zip gz") | _ARRAYS
# Raw files of cameras: TIFF files of which Pillow would show a thumbnail.
_RAW = _endings("dng nef cr2 arw orf rw2 pef srw")
_NEVER_IMAGES = _COMPANIONS | _RAW
_ONLY_RECOGNISED = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"})
# Anything else behind a dot is a part of a name, such as the 0001 of `photo.0001`.
_ENDING = re.compile(r"\.(?=.*[a-z])[a-z0-9]{1,12}")
_ENDINGS_SHOWN = 5

# Ending, in lower case with the dot or empty, to how many files were passed over; and `SPECIAL`.
PassedOver = Counter[str]
# What no ending makes an image: a pipe waits for its writer, and a device may never end.
SPECIAL = "special file"


def is_image(name: str, contents: Callable[[], BinaryIO], passed_over: PassedOver | None = None) -> bool:
    """Return whether a file is an image; rules 1 to 3.

    Call it in one thread only: it silences Pillow.

    Args:
        name: Name of the file, in a folder or an archive.
        contents: Opens the file, where its contents decide. An OSError means that it is no image.
        passed_over: Counts the file if it is none.

    Raises:
        MachineError: The machine is why the contents cannot be read.
    """
    suffix = _suffix_of(name)
    found = suffix in IMAGE_SUFFIXES or (suffix not in _NEVER_IMAGES and _has_signature(name, contents))
    if not found and passed_over is not None:
        passed_over[suffix if _ENDING.fullmatch(suffix) else ""] += 1
    return found


def _suffix_of(name: str) -> str:
    """Return what pathlib calls the suffix, in lower case; pathlib itself would take most of a listing's time."""
    file = name.rpartition("/")[2]
    stem, dot, ending = file.rpartition(".")
    return f".{ending.lower()}" if dot and stem and ending else ""


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """Return what was passed over in words; empty for nothing."""
    if not passed_over:
        return ""
    files = sum(passed_over.values())
    return (
        f"{counted(files, 'file')} {verb_for(files, 'are')} no image that Pillow reads, and passed over: "
        f"{count_endings(passed_over)}"
    )


def count_endings(files: Mapping[str, int]) -> str:
    """Return how many files have which ending, the most frequent first; `nothing` for none."""
    most_first = sorted(files.items(), key=lambda item: (-item[1], item[0]))
    endings = [_count_ending(ending, count) for ending, count in most_first]
    return first_few(endings, shown=_ENDINGS_SHOWN) or "nothing"


def _count_ending(ending: str, count: int) -> str:
    if ending == SPECIAL:
        return f"{counted(count, SPECIAL)} (pipe, socket or device)"
    return f"{count:,} {ending or 'without an ending'}"


def describe_instead(passed_over: Mapping[str, int]) -> str:
    """Return in words what lies where images were expected, and of arrays what to do with them."""
    found = f"found {count_endings(passed_over)}"
    arrays = _ARRAYS & {ending for ending, count in passed_over.items() if count}
    return f"{found}; write arrays as PNG files with Pillow's Image.fromarray" if arrays else found


def _has_signature(name: str, contents: Callable[[], BinaryIO]) -> bool:
    try:
        with naming_machines_faults(name), closing(contents()) as file, pillow_silenced():
            Image.open(file, formats=_formats_with_signature())
    except Image.DecompressionBombError:
        # It was recognised; whoever decodes it names it.
        return True
    except (UnidentifiedImageError, *UNREADABLE):
        return False
    return True


@cache
def _formats_with_signature() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name, (_, accept) in Image.OPEN.items() if accept and name not in _ONLY_RECOGNISED)
