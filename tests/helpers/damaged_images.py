"""Image files that are damaged so that Pillow raises something else than OSError."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.image_folders import picture


def encoded(kind: str, mode: str, seed: int = 0) -> bytes:
    """Return a small picture in one of Pillow's formats."""
    contents = io.BytesIO()
    Image.fromarray(picture(seed)).convert(mode).save(contents, format=kind)
    return contents.getvalue()


def _avif() -> bytes:
    """The coded picture, which `mdat` holds, is all zeros."""
    whole = encoded("AVIF", "RGB")
    start = whole.index(b"mdat") + 4
    return whole[:start] + bytes(len(whole) - start)


def _blp() -> bytes:
    """The compression, 4 bytes behind the format's name, is none that there is."""
    whole = encoded("BLP", "P")
    return whole[:4] + struct.pack("<I", 99) + whole[8:]


def _spider() -> bytes:
    """Header word 27, the image's number in a stack, is set in a file that is no stack."""
    whole = encoded("SPIDER", "F")
    first, word = 26 * 4, struct.pack("=f", 1.0)
    return whole[:first] + word + whole[first + len(word) :]


# Format, what damages it, and what Pillow 13 raises for that.
DAMAGES: dict[str, tuple[Callable[[], bytes], type[Exception]]] = {
    "AVIF": (_avif, RuntimeError),
    "BLP": (_blp, NotImplementedError),
    "SPIDER": (_spider, AttributeError),
}


def write_damaged(path: Path, kind: str) -> Path:
    """Write one of `DAMAGES`, and check that Pillow raises what it is there for."""
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    damage, raised = DAMAGES[kind]
    path.write_bytes(damage())
    with pytest.raises(raised), Image.open(path) as image:
        image.load()
    return path
