"""What images lose on their way to RGB is counted, and two of the losses can be avoided by choice."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from runtime.bundle.manifest import Preprocessing
from runtime.data.dataset import Dataset
from runtime.images.losses import Losses, describe_repeats
from runtime.images.reading import decode, load_pixels, open_image

SIZE = (40, 24)
CONTRACT = Preprocessing(
    image_size=16, resize_size=16, crop_pct=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
)
TURNING = CONTRACT.model_copy(update={"exif_rotate": True})
SCALING = CONTRACT.model_copy(update={"depth16": "scale"})


def grey(seed=0):
    return np.random.default_rng(seed).integers(0, 256, SIZE[::-1]).astype(np.uint8)


def deep(seed=0):
    """Return 16-bit values as in the report of users: all above 255."""
    return grey(seed).astype(np.uint16) * 16 + 300


def with_orientation(path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    rgb = Image.fromarray(np.dstack([grey(1), grey(2), grey(3)]))
    rgb.save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_clipped_and_counted_or_its_high_byte_is_taken(tmp_path, suffix):
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray(deep()).save(file)
    clipped = decode(file, "deep")
    assert clipped.lost == Losses(clipped=1)
    assert np.unique(np.asarray(clipped.picture)).tolist() == [255]
    scaled = decode(file, "deep", SCALING)
    assert scaled.lost == Losses()
    # 16 * value + 300 divided by 256, rounded down, by hand.
    expected = (grey().astype(int) * 16 + 300) // 256
    np.testing.assert_array_equal(np.asarray(scaled.picture)[..., 0], expected)


def test_different_16_bit_images_stay_different_only_when_they_are_scaled(tmp_path):
    files = [tmp_path / f"{seed}.png" for seed in range(6)]
    for seed, file in enumerate(files):
        Image.fromarray(deep(seed)).save(file)
    clipped, lost = Dataset.of_files(files).load(CONTRACT)
    assert (len(np.unique(clipped, axis=0)), lost.clipped) == (1, 6)
    scaled, lost = Dataset.of_files(files).load(SCALING)
    assert (len(np.unique(scaled, axis=0)), lost) == (6, Losses())


def test_16_bit_grey_whose_values_fit_in_8_bits_loses_nothing(tmp_path):
    Image.fromarray(grey().astype(np.uint16)).save(tmp_path / "dark.png")
    assert decode(tmp_path / "dark.png", "dark").lost == Losses()


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (grey().astype(np.float32) / 255, Losses(fractions=1)),
        (grey().astype(np.float32) * 3, Losses(clipped=1)),
        (grey().astype(np.float32), Losses()),
        (np.full(SIZE[::-1], np.nan, np.float32), Losses(clipped=1)),
        (np.zeros(SIZE[::-1], np.float32), Losses()),
        (grey().astype(np.int32) - 5, Losses(clipped=1)),
        (grey().astype(np.float32) - grey().min() - 0.5, Losses(clipped=1)),
        (grey().astype(np.int32) * 1000, Losses(clipped=1)),
    ],
)
def test_floats_and_32_bit_integers_are_counted_whatever_is_chosen(tmp_path, values, lost):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    assert decode(tmp_path / "deep.tif", "deep").lost == lost
    assert decode(tmp_path / "deep.tif", "deep", SCALING).lost == lost


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_orientation_is_counted_or_applied_as_pillows_own_function_does(tmp_path, suffix, orientation):
    file = with_orientation(tmp_path / f"photo.{suffix}", orientation)
    stored = decode(file, "photo")
    assert stored.lost == Losses(turned=orientation != 1)
    assert stored.picture.size == SIZE
    turned = decode(file, "photo", TURNING)
    assert turned.lost == Losses()
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(turned.picture), expected)
    np.testing.assert_array_equal(np.asarray(open_image(file, TURNING)), expected)


def test_a_tiff_is_turned_by_pillow_once_and_not_again(tmp_path):
    file = with_orientation(tmp_path / "scan.tif", 6)
    plain, turned = decode(file, "scan"), decode(file, "scan", TURNING)
    assert (plain.lost, turned.lost) == (Losses(), Losses())
    np.testing.assert_array_equal(np.asarray(plain.picture), np.asarray(turned.picture))


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, orientation):
    assert decode(with_orientation(tmp_path / "photo.jpg", orientation), "photo", TURNING).lost == Losses()


# Pillow raises for some of them in PNG and WebP, and for none in JPEG (13.0).
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("damaged", [b"II*\0\xff\xff\xff\xff garbage", b"garbage!", b"II*\0\x08\0\0\0\xff"])
def test_damaged_exif_leaves_the_picture_readable(tmp_path, suffix, damaged):
    Image.fromarray(grey()).save(tmp_path / f"photo.{suffix}", exif=b"Exif\0\0" + damaged)
    assert open_image(tmp_path / f"photo.{suffix}", TURNING).size == SIZE


def see_through(kind):
    alpha = grey(4)
    if kind == "RGBA":
        return Image.fromarray(np.dstack([grey(1), grey(2), grey(3), alpha]))
    if kind == "LA":
        return Image.fromarray(np.dstack([grey(1), alpha]))
    image = Image.fromarray(grey(1)).quantize(8)
    image.info["transparency"] = 3
    return image


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_transparency_is_counted_where_a_part_is_not_opaque(tmp_path, kind):
    image = see_through(kind)
    image.save(tmp_path / "image.png")
    assert decode(tmp_path / "image.png", "image").lost == Losses(transparent=1)
    if kind != "P":
        image.putalpha(255)
        image.save(tmp_path / "opaque.png")
        assert decode(tmp_path / "opaque.png", "opaque").lost == Losses()


def test_losses_add_up_and_are_told_in_a_sentence_each():
    total = sum((Losses(clipped=1), Losses(clipped=1, turned=1), Losses(transparent=1)), Losses())
    assert total == Losses(clipped=2, turned=1, transparent=1)
    clipped, turned, transparent = total.sentences()
    assert clipped.startswith("2 images have values below 0 or above 255")
    assert "--depth16 scale" in clipped
    assert turned.startswith("1 image has an EXIF orientation that was not applied")
    assert "--exif-rotate" in turned
    assert transparent.startswith("1 image has transparent parts")
    assert Losses().sentences() == ()


@pytest.mark.parametrize(
    ("repeated", "images", "told"), [(359, 360, True), (2, 3, False), (3, 40, True), (3, 400, False)]
)
def test_repeats_far_beyond_chance_are_told(repeated, images, told):
    sentences = describe_repeats(repeated, images, what="embedding")
    assert bool(sentences) == told
    assert all(f"{repeated} of {images} images have the same embedding" in sentence for sentence in sentences)


def test_the_public_function_reads_as_the_bundle_says(tmp_path):
    Image.fromarray(deep()).save(tmp_path / "deep.png")
    assert np.unique(load_pixels(tmp_path / "deep.png", CONTRACT)).tolist() == [255]
    assert len(np.unique(load_pixels(tmp_path / "deep.png", SCALING))) > 5


def png_with_transparent(pixels, bits, transparent):
    """A PNG whose chunk tRNS names one colour, from (H, W) or (H, W, 3) numbers below 2 ** bits; by the standard."""
    colour_type = 2 if pixels.ndim == 3 else 0
    if bits == 16:
        rows = pixels.astype(">u2").reshape(len(pixels), -1).view(np.uint8)
    else:
        rows = np.packbits((pixels[..., None] >> np.arange(bits)[::-1] & 1).reshape(len(pixels), -1), axis=1)
    filtered = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">2I5B", pixels.shape[1], pixels.shape[0], bits, colour_type, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tRNS", np.array(transparent, ">u2").tobytes()),
        (b"IDAT", zlib.compress(filtered)),
        (b"IEND", b""),
    )
    checked = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(checked)


@pytest.mark.parametrize("colour", ["RGB", "L"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_depth_counts_where_a_pixel_has_it(bits, colour):
    contract = SCALING.model_copy(update={"colour": colour})
    if colour == "L":
        contract = contract.model_copy(update={"mean": (0.5,), "std": (0.5,)})
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (9, 13))
    for transparent in (0, 1, 2**bits - 1):
        pixels[4, 5] = transparent
        found = decode(io.BytesIO(png_with_transparent(pixels, bits, transparent)), "grey", contract)
        assert found.lost == Losses(transparent=1)
        kept = np.where(pixels == transparent, 1 - min(transparent, 1), pixels)
        opaque = decode(io.BytesIO(png_with_transparent(kept, bits, transparent)), "grey", contract)
        assert opaque.lost == Losses()
        # The pixels themselves are Pillow's: their number scaled to 255.
        expected = kept >> 8 if bits == 16 else kept * (255 // (2**bits - 1))
        np.testing.assert_array_equal(np.asarray(opaque.picture).reshape(9, 13, -1)[..., 0], expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("most", [0, 200, 2**16 - 1])
def test_a_transparent_colour_counts_where_a_pixel_has_it(bits, most):
    rng = np.random.default_rng(bits)
    # Of other high bytes than the transparent colour's, which is a picture's corner alone.
    pixels = rng.integers(2 ** (bits - 4), 2 ** (bits - 1), (9, 13, 3))
    transparent = [min(most, 2**bits - 1), 3, 0]
    opaque = decode(io.BytesIO(png_with_transparent(pixels, bits, transparent)), "colours", CONTRACT)
    assert opaque.lost == Losses()
    pixels[0, 0] = transparent
    found = decode(io.BytesIO(png_with_transparent(pixels, bits, transparent)), "colours", CONTRACT)
    assert found.lost == Losses(transparent=1)
    np.testing.assert_array_equal(np.asarray(found.picture), pixels >> (bits - 8))
