"""Every kind of image file is read as timm reads it; what cannot be read is named."""

import errno
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.errors import DataError, MachineError
from runtime.images.formats import IMAGE_SUFFIXES
from runtime.images.reading import load_pixels, open_image
from tests.helpers.pillow.pillow_contract import Case
from tests.helpers.pillow.resample_reference import evaluation_pixels

SIZE = (60, 40)
Array = Any


def noise(*channels: int, low: int = 0, high: int = 256, dtype: Any = np.uint8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(low, high, (SIZE[1], SIZE[0], *channels)).astype(dtype)


def colours(path: Path) -> Array:
    return np.asarray(open_image(path))


def by_timm(path: Path) -> Array:
    """Return what timm's own data set hands to its transform for a folder that holds this one file."""
    from timm.data import ImageDataset

    (path.parent / "class").mkdir()
    path.rename(path.parent / "class" / path.name)
    dataset = ImageDataset(str(path.parent), reader="", input_key=path.suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns timm about what runtime.images.reading silences
        image = np.asarray(dataset[0][0])
    (path.parent / "class" / path.name).rename(path)
    return image


def grey(values: Array) -> Array:
    return np.stack([values] * 3, axis=-1)


def write_png16(path: Path, values: Array, colour_type: int) -> None:
    """Write a 16-bit PNG by hand: Pillow writes greyscale ones only. Source: PNG specification, 5 and 11."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def corrupt_exif() -> bytes:
    """Return EXIF whose one tag points 1000 bytes on, past the end. Source: TIFF 6.0, section 2."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x010F, 2, 100, 1000) + b"\0\0\0\0"


def write_palette(path: Path, **options: Any) -> Array:
    image = Image.fromarray(noise())
    palette = np.random.default_rng(9).integers(0, 256, (256, 3)).astype(np.uint8)
    image.putpalette(list(palette.tobytes()))
    image.save(path, **options)
    return palette[noise()]


def write_frames(path: Path, **options: Any) -> Array:
    frames = [Image.fromarray(noise(3, seed=seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return noise(3, seed=0)


def write_oriented(path: Path) -> Array:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(3)).save(path, exif=exif)
    return noise(3)


def write_array(values: Array, expected: Array) -> Callable[[Path], Array]:
    def write(path: Path) -> Array:
        Image.fromarray(values).save(path)
        return expected

    return write


def write_png16_as(values: Array, colour_type: int, expected: Array) -> Callable[[Path], Array]:
    def write(path: Path) -> Array:
        write_png16(path, values, colour_type)
        return expected

    return write


DEEP = {channels: noise(channels, high=65536, dtype=np.uint16) for channels in (2, 3, 4)}
GREY16 = noise(high=600, dtype=np.uint16)
CLIPPED = grey(np.minimum(GREY16, 255).astype(np.uint8))
FLOATS = (noise(high=400, dtype=np.float32) - 50).astype(np.float32)

# The file, what writes it, and its colours by hand. Lossless formats only, so that they are exact.
LOSSLESS: dict[str, tuple[str, Callable[[Path], Array]]] = {
    "grey": ("a.png", write_array(noise(), grey(noise()))),
    "one bit": ("a.png", write_array(noise(high=2).astype(bool), grey(noise(high=2) * np.uint8(255)))),
    "palette": ("a.png", write_palette),
    "palette with one transparent index": ("a.png", lambda path: write_palette(path, transparency=3)),
    "palette with alpha in bytes": ("a.png", lambda path: write_palette(path, transparency=bytes(range(256)))),
    "gif with a transparent index": ("a.gif", lambda path: write_palette(path, transparency=3)),
    "RGBA": ("a.png", write_array(noise(4), noise(4)[..., :3])),
    "grey with alpha": ("a.png", write_array(noise(2), grey(noise(2)[..., 0]))),
    "16-bit grey PNG": ("a.png", write_array(GREY16, CLIPPED)),
    "16-bit grey TIFF": ("a.tif", write_array(GREY16, CLIPPED)),
    "big-endian 16-bit grey TIFF": ("a.tif", write_array(GREY16.astype(">u2"), CLIPPED)),
    "32-bit grey TIFF": ("a.tif", write_array(GREY16.astype(np.int32), CLIPPED)),
    "float TIFF": ("a.tif", write_array(FLOATS, grey(np.clip(FLOATS, 0, 255).astype(np.uint8)))),
    "16-bit RGB PNG": ("a.png", write_png16_as(DEEP[3], 2, (DEEP[3] >> 8).astype(np.uint8))),
    "16-bit RGBA PNG": ("a.png", write_png16_as(DEEP[4], 6, (DEEP[4][..., :3] >> 8).astype(np.uint8))),
    "16-bit grey PNG with alpha": ("a.png", write_png16_as(DEEP[2], 4, grey((DEEP[2][..., 0] >> 8).astype(np.uint8)))),
    "EXIF orientation": ("a.png", write_oriented),
    "several pages": ("a.tiff", write_frames),
    "animated PNG": ("a.png", write_frames),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_give_the_documented_colours_and_timms(kind: str, tmp_path: Path) -> None:
    name, write = LOSSLESS[kind]
    path = tmp_path / name
    expected = write(path)
    np.testing.assert_array_equal(colours(path), expected)
    np.testing.assert_array_equal(colours(path), by_timm(path))


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {"progressive": True}), ("CMYK", {}), ("L", {}), ("RGB", {"subsampling": 2, "exif": corrupt_exif()})],
    ids=["progressive", "CMYK", "grey", "corrupt EXIF"],
)
def test_jpegs_give_timms_colours(mode: str, options: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(noise(3)).convert(mode).save(tmp_path / "a.jpg", **options)
    np.testing.assert_array_equal(colours(tmp_path / "a.jpg"), by_timm(tmp_path / "a.jpg"))


def test_an_animated_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (colours(tmp_path / "a.gif") == (255, 0, 0)).all()


def test_progressive_and_baseline_jpegs_of_a_picture_are_the_same_pixels(tmp_path: Path) -> None:
    for name, progressive in (("p.jpg", True), ("b.jpg", False)):
        Image.fromarray(noise(3)).save(tmp_path / name, progressive=progressive)
    np.testing.assert_array_equal(colours(tmp_path / "p.jpg"), colours(tmp_path / "b.jpg"))


def test_orientation_in_a_jpeg_is_not_applied(tmp_path: Path) -> None:
    write_oriented(tmp_path / "a.jpg")
    assert open_image(tmp_path / "a.jpg").size == SIZE


def test_pillow_warns_of_corrupt_exif_and_we_do_not(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    data = bytearray(struct.pack("<2sHIH", b"II", 42, 8, 10))
    for tag, kind, value in (
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 200),
        (277, 3, 1),
    ):
        data += struct.pack("<HHII", tag, kind, 1, value)
    data += struct.pack("<HHII", 278, 3, 1, 1) + struct.pack("<HHII", 279, 4, 1, 2)
    data += struct.pack("<HHII", 0x010F, 2, 100, 5000) + b"\0\0\0\0"
    path.write_bytes(bytes(data).ljust(200, b"\0") + bytes([7, 250]))
    with pytest.warns(UserWarning, match="corrupt EXIF|Tag data larger|Truncated File Read"):
        Image.open(path).close()
    assert colours(path).tolist() == [[[7] * 3, [250] * 3]]


def test_silencing_leaves_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    write_palette(tmp_path / "a.png", transparency=bytes(range(256)))
    before = list(warnings.filters)
    open_image(tmp_path / "a.png")
    assert list(warnings.filters) == before


def test_load_pixels_follows_the_contract(tmp_path: Path) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    got = load_pixels(tmp_path / "a.png", Case("RGB", *SIZE, 16, 0.875, "bilinear").preprocessing)
    np.testing.assert_array_equal(got, evaluation_pixels(noise(3), resize=18, crop=16, interpolation="bilinear"))


def write_truncated_png(path: Path) -> None:
    Image.fromarray(noise(3)).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:2000])


def write_truncated_jpeg(path: Path) -> None:
    Image.fromarray(noise(3)).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:900])


DAMAGED: dict[str, Callable[[Path], Any]] = {
    "absent": lambda path: path.unlink(missing_ok=True),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>404 Not Found</html>"),
    "a folder": lambda path: path.mkdir(),
    "truncated PNG": write_truncated_png,
    "truncated JPEG": write_truncated_jpeg,
    "a header only": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files_are_named_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    DAMAGED[kind](path)
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as an image \(.+\): expected .*") as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_a_file_is_not_called_damaged_where_the_machine_cannot_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.png")

    def open_none(*_arguments: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Image, "open", open_none)
    with pytest.raises(MachineError, match=r"a\.png cannot be read now \(Too many open files\): the image"):
        open_image(tmp_path / "a.png")


def test_a_decompression_bomb_is_refused_and_a_large_picture_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(noise(3)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    assert open_image(tmp_path / "a.png").size == SIZE
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] // 2 - 1)
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image \(Image size \(2400 pixels\) exceeds"):
        open_image(tmp_path / "a.png")


def test_every_suffix_that_timm_reads_is_searched_for() -> None:
    from timm.data.readers.img_extensions import get_img_extensions

    assert set(get_img_extensions()) <= IMAGE_SUFFIXES
