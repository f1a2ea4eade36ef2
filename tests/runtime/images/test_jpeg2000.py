"""JPEG 2000: 8 bits are read as they are, colours of more bits are refused, since Pillow reads their white as black."""

import io

import numpy as np
import pytest
from PIL import Image, features

from runtime.errors import DataError
from runtime.images.reading import decode

pytestmark = pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
# ISO/IEC 15444-1, A.5.1: the markers SOC and SIZ; 38 bytes later the first of three bytes for each channel.
_SOC_SIZ, _BEHIND = b"\xff\x4f\xff\x51", 38
COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)


def written(mode: str, *, boxes: bool, bits: int = 8) -> io.BytesIO:
    """Lossless, by Pillow; for more bits the header alone is changed, which is read before any pixel is."""
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    file = io.BytesIO()
    Image.fromarray(COLOURS[..., :channels].squeeze()).save(file, "JPEG2000", no_jp2=not boxes)
    contents = bytearray(file.getvalue())
    first = contents.index(_SOC_SIZ) + len(_SOC_SIZ) + _BEHIND
    assert all(contents[first + 3 * channel] == 7 for channel in range(channels))
    contents[first] = bits - 1
    return io.BytesIO(bytes(contents))


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_eight_bits_are_read_as_they_are(mode: str, boxes: bool) -> None:
    found = np.asarray(decode(written(mode, boxes=boxes), "a.jp2").picture)
    np.testing.assert_array_equal(found, COLOURS[..., :3] if mode.startswith("RGB") else COLOURS[..., [0, 0, 0]])


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
@pytest.mark.parametrize("bits", [9, 12, 16])
def test_more_bits_of_several_channels_are_refused(mode: str, boxes: bool, bits: int) -> None:
    with pytest.raises(DataError, match=rf"a\.jp2 cannot be read as an image \(a JPEG 2000 of {bits} bits a channel"):
        decode(written(mode, boxes=boxes, bits=bits), "a.jp2")
