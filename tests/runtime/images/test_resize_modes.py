"""The resize modes against timm's and torchvision's own transforms, to the byte."""

import numpy as np
import PIL
import pytest
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from runtime.bundle.manifest import Preprocessing
from runtime.images.preprocessing import preprocess, size_before_crop

MEAN = STD = (0.5, 0.5, 0.5)
SIZES = [(300, 200), (200, 300), (97, 61), (64, 64), (33, 250), (250, 33), (1, 1)]
# From this version on, Pillow itself swaps the passes for some sizes, so timm's own bytes change.
PASSES_SWAP_FROM = 13


def picture(width, height):
    rng = np.random.default_rng(width * height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def contract(image_size, resize_size, mode, interpolation):
    return Preprocessing(
        image_size=image_size,
        resize_size=resize_size,
        crop_pct=0.9,
        interpolation=interpolation,
        mean=MEAN,
        std=STD,
        resize_mode=mode,
    )


def two_passes(image, size, interpolation):
    """Return Pillow's own resize, horizontal first on every version."""
    method = Image.Resampling[interpolation.upper()]
    return image.resize((size[0], image.height), method).resize(size, method)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_cover_has_the_size_and_the_bytes_of_timms_transform(size, interpolation):
    image, kept = picture(*size), (48, 80)
    # floor(48 / 0.9) = 53, floor(80 / 0.9) = 88
    ours = contract(kept, (53, 88), "cover", interpolation)
    resize, crop, *_ = create_transform((3, *kept), crop_pct=0.9, interpolation=interpolation).transforms
    assert size_before_crop(size[0], size[1], ours) == resize(image).size
    by_timm = np.asarray(crop(two_passes(image, resize(image).size, interpolation)))
    np.testing.assert_array_equal(preprocess(image, ours), by_timm)
    if int(PIL.__version__.split(".")[0]) < PASSES_SWAP_FROM:
        np.testing.assert_array_equal(by_timm, np.asarray(crop(resize(image))))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_squash_has_the_size_and_the_bytes_of_torchvisions_transform(size, interpolation):
    image = picture(*size)
    transform = Compose([Resize((50, 90), InterpolationMode[interpolation.upper()]), CenterCrop((48, 80))])
    ours = contract((48, 80), (50, 90), "squash", interpolation)
    assert size_before_crop(size[0], size[1], ours) == (90, 50)
    crop = transform.transforms[1]
    np.testing.assert_array_equal(preprocess(image, ours), np.asarray(crop(two_passes(image, (90, 50), interpolation))))


@pytest.mark.parametrize("size", SIZES)
def test_an_oblong_crop_of_the_short_sides_resize_is_torchvisions(size):
    image = picture(*size)
    resize, crop = Resize(90), CenterCrop((48, 80))
    ours = contract((48, 80), 90, "short", "bilinear")
    np.testing.assert_array_equal(
        preprocess(image, ours), np.asarray(crop(two_passes(image, resize(image).size, "bilinear")))
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize_size": (60, 90)}, "does not fit resize_mode short"),
        ({"resize_mode": "squash"}, "does not fit resize_mode squash"),
        ({"resize_mode": "cover", "resize_size": (47, 90)}, "is less than image_size"),
        ({"mean": (0.5,)}, "mean has 1 numbers, expected 3 for RGB"),
        ({"std": (0.5,) * 4}, "std has 4 numbers, expected 3 for RGB"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(change, words):
    fields = {"image_size": (48, 80), "resize_size": 90, "crop_pct": 0.9, "interpolation": "bilinear"}
    with pytest.raises(ValueError, match=words):
        Preprocessing.model_validate({**fields, "mean": MEAN, "std": STD, **change})
