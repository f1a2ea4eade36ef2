"""TIFFs that Pillow reads as another picture: refused, or put right."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.manifest import Preprocessing
from runtime.errors import DataError
from runtime.images.reading import decode
from tests.helpers.bundles import hand_made_manifest

HEIGHT, WIDTH = 24, 40
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
COLOURS = np.stack([COLUMNS * 1600, ROWS * 2600, (ROWS + COLUMNS) * 1000], axis=-1).astype("<u2")


def write_tiff(file: Path, values: np.ndarray, *, planar: bool, packed: bool = False, photometric: int = 2) -> Path:
    """Write (H, W, bands) values as TIFF 6.0, by hand: little-endian, a strip for the picture or for each band."""
    bands, bits = values.shape[2], values.dtype.itemsize * 8
    strips = [np.ascontiguousarray(values[..., band]) for band in range(bands)] if planar else [values]
    contents = [zlib.compress(strip.tobytes()) if packed else strip.tobytes() for strip in strips]
    places = list(np.cumsum([8, *map(len, contents)]))
    body, extra = b"".join(contents), b""
    end = int(places[-1])
    entries = {
        256: ("I", [WIDTH]),
        257: ("I", [HEIGHT]),
        258: ("H", [bits] * bands),
        259: ("H", [8 if packed else 1]),
        262: ("H", [photometric]),
        273: ("I", places[:-1]),
        277: ("H", [bands]),
        278: ("I", [HEIGHT]),
        279: ("I", [len(one) for one in contents]),
        284: ("H", [2 if planar else 1]),
    }
    directory = struct.pack("<H", len(entries))
    after = end + 2 + 12 * len(entries) + 4
    for tag, (kind, numbers) in sorted(entries.items()):
        held = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(held) > 4:
            held, extra = struct.pack("<I", after + len(extra)), extra + held
        directory += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(numbers)) + held.ljust(4, b"\0")
    file.write_bytes(struct.pack("<2sHI", b"II", 42, end) + body + directory + struct.pack("<I", 0) + extra)
    return file


@pytest.mark.parametrize(("planar", "packed"), [(False, False), (False, True), (True, True)])
def test_colours_of_16_bits_are_the_high_bytes(tmp_path: Path, planar: bool, packed: bool) -> None:
    read = decode(write_tiff(tmp_path / "a.tif", COLOURS, planar=planar, packed=packed), "a.tif")
    assert np.array_equal(np.asarray(read.picture), COLOURS >> 8)


def test_bands_of_8_bits_one_after_the_other_are_read(tmp_path: Path) -> None:
    values = (COLOURS >> 8).astype(np.uint8)
    assert np.array_equal(np.asarray(decode(write_tiff(tmp_path / "a.tif", values, planar=True), "a").picture), values)


def test_uncompressed_bands_of_16_bits_one_after_the_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.tif cannot be read as an image \(16-bit bands one after the other"):
        decode(write_tiff(tmp_path / "a.tif", COLOURS, planar=True), "a.tif")


@pytest.mark.parametrize("kind", [np.dtype("<u2"), np.dtype(np.uint8)])
def test_grey_whose_zero_is_white_is_turned_round(tmp_path: Path, kind: np.dtype) -> None:
    contract = Preprocessing.model_validate(hand_made_manifest().preprocessing.model_dump() | {"depth16": "scale"})
    values = COLOURS[..., :1] if kind.itemsize == 2 else (COLOURS[..., :1] >> 8).astype(np.uint8)
    high = COLOURS[..., 0] >> 8
    for photometric, expected in ((1, high), (0, 255 - high)):
        file = write_tiff(tmp_path / f"{photometric}.tif", values, planar=False, photometric=photometric)
        assert np.array_equal(np.asarray(decode(file, "grey", contract).picture)[..., 0], expected)
