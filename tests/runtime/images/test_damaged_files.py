"""Files damaged at random are read or refused, in every format that Pillow both writes and reads."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.data.sources.entries import Entry
from runtime.embed.decode import decode_entry
from runtime.errors import DataError
from runtime.images.preprocessing import preprocess
from runtime.images.reading import load_pixels, open_image, pillow_silenced
from tests.helpers.damaged_images import DAMAGES, encoded, write_damaged
from tests.helpers.pillow.pillow_contract import Case

# Pillow only hands these on to a reader that a program adds; EPS it has Ghostscript draw, a program of its own.
READ_BY_OTHERS = {"BUFR", "EPS", "GRIB", "HDF5", "WMF"}
MODES = ("RGB", "P", "L", "1", "RGBA", "LA", "CMYK", "F", "I", "I;16")
INPUTS = 200
# An ICNS of noise has megabytes; one of a few colours breaks in the same places.
LARGEST = 1 << 16
# A damaged header may ask for a picture of any size. That of an ICNS, 1024 x 1024, is the largest that is whole.
MAX_PIXELS = 1 << 20
# Most of what a file says of itself stands here, and is hit too seldom by bits drawn from the whole.
HEADER = 64
CONTRACT = Case("RGB", 16, 12, 16, 0.875, "bilinear").preprocessing

Image.init()
FORMATS = sorted({*Image.OPEN} & {*Image.SAVE} - READ_BY_OTHERS)


def whole_files(kind: str) -> list[bytes]:
    """Return the format's files in all modes that Pillow both writes and reads."""
    files = []
    for mode in MODES:
        try:
            contents = encoded(kind, mode)
            with Image.open(io.BytesIO(contents)) as image:
                image.convert("RGB")
        except (OSError, ValueError, KeyError):
            continue
        if len(contents) <= LARGEST:
            files.append(contents)
    return files


def damaged_files(kind: str) -> Iterator[bytes]:
    """Yield files of one format: cut short, with one to three bits flipped, or both."""
    rng = np.random.default_rng([0, *kind.encode()])
    files = whole_files(kind)
    assert files, f"Pillow writes no {kind} that it reads"
    for number in range(INPUTS):
        contents = bytearray(files[number % len(files)])
        way = rng.integers(4)
        if way != 1:
            within = min(len(contents), HEADER) if way == 2 else len(contents)
            for position in rng.integers(0, within, rng.integers(1, 4)):
                contents[position] ^= 1 << int(rng.integers(8))
        if way in (1, 3):
            del contents[int(rng.integers(len(contents))) :]
        yield bytes(contents)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", MAX_PIXELS)


def refusal(path: Path) -> str:
    """Return why a file is not read, or an empty string where it is."""
    try:
        pixels = load_pixels(path, CONTRACT)
    except DataError as error:
        return str(error)
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    return ""


# ICNS holds pictures of up to 1024 x 1024 whatever is asked for.
@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind == "ICNS" else kind for kind in FORMATS]
)
def test_a_file_damaged_at_random_is_read_or_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    refused = 0
    path = tmp_path / "broken.jpg"
    with pillow_silenced():
        for contents in damaged_files(kind):
            path.write_bytes(contents)
            why = refusal(path)
            refused += bool(why)
            if why:
                assert "broken.jpg" in why
                assert "\n" not in why
            # A job decodes from memory, where Pillow meets other errors than in a file.
            opened = (Entry("broken.jpg", str(path)), path.read_bytes)
            job = decode_entry(opened, lambda image: preprocess(image, CONTRACT))
            assert (job.pixels is None) == bool(job.reason)
            assert "\n" not in job.reason
    # Were nothing refused, nothing would have been damaged; were all, the whole files were none.
    assert INPUTS // 10 < refused < INPUTS


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_pillow_raises_beside_oserror_is_a_refusal_too(kind: str, tmp_path: Path) -> None:
    path = write_damaged(tmp_path / "broken.jpg", kind)
    with pytest.raises(
        DataError, match=r"broken\.jpg cannot be read as an image \(.+\): expected a whole file"
    ) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_formats_of_photographs_are_among_those_that_are_damaged() -> None:
    wanted: set[Any] = {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"}
    assert wanted <= set(FORMATS)
