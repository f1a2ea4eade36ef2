"""From an image's encoded bytes to pixels and a hash, or to the reason why not; called in worker threads."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from runtime.bundle.manifest import Preprocessing
from runtime.data.sources.entries import Entry
from runtime.errors import DataError
from runtime.images.losses import NO_LOSSES, Losses
from runtime.images.reading import UNREADABLE, naming_machines_faults, read_picture
from runtime.support.arrays import Pixels

Opened = tuple[Entry, Callable[[], bytes]]


@dataclass(frozen=True)
class Decoded:
    """An image, read.

    Attributes:
        key: What it is called.
        sha256: Hash of the encoded bytes, 64 hexadecimal digits; empty where they could not be read.
        pixels: (H, W, C) uint8; None where it cannot be decoded.
        reason: Why not, in words that are the same every time.
        lost: What it lost on its way to the network.
    """

    key: str
    sha256: str
    pixels: Pixels | None
    reason: str = ""
    lost: Losses = NO_LOSSES


def decode_entry(
    opened: Opened, transform: Callable[[Image.Image], Pixels], preprocessing: Preprocessing | None = None
) -> Decoded:
    """Return an entry's pixels, or why there are none.

    Args:
        opened: The entry, and what reads its bytes.
        transform: Function from a picture to the network's pixels.
        preprocessing: The contract by which a file is read; None for timm's.

    Raises:
        MachineError: The machine, not the image, is the reason: a job that went on would call every image unreadable,
            and be resumed over them.
    """
    entry, read = opened
    digest = ""
    try:
        with naming_machines_faults(entry.file, resumes=True):
            contents = read()
            digest = hashlib.sha256(contents).hexdigest()
            picture, lost = read_picture(BytesIO(contents), preprocessing)
            return Decoded(entry.key, digest, transform(picture), lost=lost)
    except UnidentifiedImageError:
        # Pillow's words hold an address in memory.
        return Decoded(entry.key, digest, None, "not an image of a format that Pillow knows")
    except DataError as error:
        return Decoded(entry.key, digest, None, str(error))
    except UNREADABLE as error:
        return Decoded(entry.key, digest, None, _in_words(error))


def _in_words(error: Exception) -> str:
    """Return one line without a path, which the key says."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
