"""Pictures of every mode for networks of one and four channels: Pillow's conversions, and timm's transform."""

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from runtime.bundle.manifest import Preprocessing
from runtime.images.colours import to_colours
from runtime.images.preprocessing import normalise, preprocess
from runtime.images.reading import decode
from tests.helpers.channel_bundles import MEAN, STD, draw_picture

WIDTH, HEIGHT = 40, 28
TIMMS_ROUNDING = 1e-6


def contract(colour, **changes):
    parts = {
        "image_size": 24,
        "resize_size": 28,
        "crop_pct": 24 / 28,
        "interpolation": "bilinear",
        "mean": (MEAN,) * len(colour),
        "std": (STD,) * len(colour),
        "colour": colour,
    }
    return Preprocessing.model_validate({**parts, **changes})


def noise(*channels, high=256, dtype=np.uint8):
    return np.random.default_rng(3).integers(0, high, (HEIGHT, WIDTH, *channels)).astype(dtype)


def palette(path):
    image = Image.fromarray(noise(3)).quantize(16)
    image.save(path, transparency=3)


FILES = {
    "grey": lambda path: Image.fromarray(noise()).save(path),
    "grey with alpha": lambda path: Image.fromarray(noise(2), "LA").save(path),
    "one bit": lambda path: Image.fromarray(noise() > 100).save(path),
    "colours": lambda path: Image.fromarray(noise(3)).save(path),
    "colours with alpha": lambda path: Image.fromarray(noise(4)).save(path),
    "palette": palette,
    "16 bits": lambda path: Image.fromarray(noise(high=600, dtype=np.uint16)).save(path),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("colour", ["L", "RGBA"])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_read_as_pillow_converts_it(kind, colour, tmp_path):
    path = tmp_path / "x.png"
    FILES[kind](path)
    with Image.open(path) as image:
        image.load()
        # Pillow has no conversion from 16 bits to colours on all versions: grey comes between.
        expected = image.convert("L").convert(colour) if kind == "16 bits" else image.convert(colour)
    read = decode(path, "x.png", contract(colour)).picture
    assert read.mode == colour
    assert np.array_equal(np.asarray(read), np.asarray(expected))


def test_16_bits_are_scaled_for_a_grey_network_too(tmp_path):
    values = noise(high=65536, dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    read = decode(tmp_path / "x.png", "x.png", contract("L", depth16="scale")).picture
    assert np.array_equal(np.asarray(read), values // 256)


def test_a_fourth_band_is_data_whatever_it_means_or_its_lack_is_said(tmp_path):
    bands = noise(4)
    picture = Image.merge("RGBX", [Image.fromarray(bands[..., band]) for band in range(4)])
    found, losses = to_colours(picture, contract("RGBA"))
    assert np.array_equal(np.asarray(found), bands)
    assert losses.sentences() == ()
    # A TIFF says of it that it is unspecified, and newer Pillows open such a file without it.
    picture.save(tmp_path / "x.tif")
    read = decode(tmp_path / "x.tif", "x.tif", contract("RGBA"))
    assert np.array_equal(np.asarray(read.picture), bands) or "no fourth channel" in " ".join(read.lost.sentences())


@pytest.mark.parametrize("colour", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pixels_are_those_of_timms_transform(colour, interpolation):
    # The picture is as high as it is resized to: where one axis alone is resized, every Pillow does the same.
    picture = draw_picture(colour, 1, (WIDTH, HEIGHT)).resize((WIDTH, 56))
    recipe = contract(colour, interpolation=interpolation, resize_mode="squash", resize_size=(56, 24), image_size=24)
    assert preprocess(picture, recipe).shape == (24, 24, len(colour))
    expected = picture.resize((24, 56), Image.Resampling[interpolation.upper()]).crop((0, 16, 24, 40))
    assert np.array_equal(preprocess(picture, recipe), np.asarray(expected).reshape(24, 24, -1))
    timms = create_transform(
        input_size=(len(colour), 24, 24),
        interpolation=interpolation,
        mean=(MEAN,) * len(colour),
        std=(STD,) * len(colour),
        crop_pct=1.0,
    )
    small = draw_picture(colour, 2, (24, 24))
    plain = contract(colour, interpolation=interpolation, resize_size=24, crop_pct=1.0)
    found = normalise(preprocess(small, plain)[None], plain)[0]
    assert np.allclose(found, timms(small).numpy(), atol=TIMMS_ROUNDING)


def test_colours_are_weighed_by_alpha_as_pillows_resize_does():
    picture = draw_picture("RGBA", 5, (48, 48))
    recipe = contract("RGBA", resize_size=24, crop_pct=1.0)
    found = preprocess(picture, recipe)
    assert np.array_equal(found, np.asarray(picture.resize((24, 24), Image.Resampling.BILINEAR)))
    same = contract("RGBA", resize_size=48, image_size=48, crop_pct=1.0)
    assert np.array_equal(preprocess(picture, same), np.asarray(picture))


def lost(path, colour):
    return " ".join(decode(path, "x", contract(colour)).lost.sentences())


def test_what_a_network_of_other_channels_does_not_see_is_said(tmp_path):
    for name, pixels in {"grey": noise(), "colours": noise(3), "alpha": noise(4)}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    Image.fromarray(np.repeat(noise(1), 3, axis=2)).save(tmp_path / "like grey.png")
    assert lost(tmp_path / "grey.png", "L") == lost(tmp_path / "like grey.png", "L") == ""
    assert "1 image has colours, and the network takes one grey channel" in lost(tmp_path / "colours.png", "L")
    # Two of the three channels are the same.
    for same in ((0, 0, 1), (0, 1, 0), (1, 0, 0)):
        Image.fromarray(noise(2)[..., list(same)]).save(tmp_path / "two.png")
        assert "1 image has colours" in lost(tmp_path / "two.png", "L")
    assert "1 image has transparent parts" in lost(tmp_path / "alpha.png", "L")
    assert "1 image has no fourth channel, and the network takes one" in lost(tmp_path / "colours.png", "RGBA")
    assert lost(tmp_path / "alpha.png", "RGBA") == ""
    assert "colours" not in lost(tmp_path / "colours.png", "RGB")
