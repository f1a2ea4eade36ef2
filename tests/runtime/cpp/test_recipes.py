"""The C library with other preprocessing than the usual: Python's bytes, or a refusal in a sentence."""

import json

import numpy as np
import pytest
from PIL import Image

from runtime.bundle.manifest import Preprocessing
from runtime.images.native import NativePreprocessor
from runtime.images.preprocessing import preprocess
from tests.conftest import crops
from tests.helpers.cpp.build import build_library, require_tools
from tests.helpers.cpp.library import Engine, LibraryError, Status
from tests.helpers.exported import copy_bundle

SQUARE = 64
RECIPES = [
    {"resize_mode": "squash", "resize_size": [SQUARE, SQUARE]},
    {"resize_mode": "squash", "resize_size": [70, 90], "interpolation": "bicubic"},
    {"resize_mode": "cover", "resize_size": [64, 90]},
    {"resize_mode": "short", "resize_size": 100, "mean": [0.5] * 3, "std": [0.25] * 3},
]


@pytest.fixture(autouse=True)
def tools():
    require_tools()


def with_preprocessing(exported, target, **change):
    """Return a copy of a bundle whose preprocessing is changed."""
    return copy_bundle(exported.fp32, target, edit=lambda manifest: manifest["preprocessing"].update(change))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_bundle_of_another_recipe_is_preprocessed_to_pythons_bytes(exported, tmp_path, recipe):
    bundle = with_preprocessing(exported, tmp_path / "bundle", **recipe)
    stated = json.loads((bundle / "bundle.json").read_text())["preprocessing"]
    contract = Preprocessing.model_validate_json(json.dumps(stated))
    with Engine(bundle) as engine:
        for picture in crops()[:6]:
            np.testing.assert_array_equal(engine.preprocess(np.array(picture)), preprocess(picture, contract))


@pytest.mark.parametrize("mode", ["short", "cover", "squash"])
def test_an_oblong_input_of_any_mode_is_pythons_by_the_native_preprocessor(mode):
    contract = Preprocessing(
        image_size=(40, 72),
        resize_size=80 if mode == "short" else (50, 80),
        crop_pct=0.8,
        interpolation="bilinear",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        resize_mode=mode,
    )
    native = NativePreprocessor(build_library() / "lib" / "libresnet_engine.so", contract)
    for picture in [*crops()[:6], Image.new("RGB", (1, 1), (9, 8, 7))]:
        np.testing.assert_array_equal(native(picture), preprocess(picture, contract))


def test_images_that_are_to_be_turned_are_refused_unless_the_caller_turns_them(exported, tmp_path):
    bundle = with_preprocessing(exported, tmp_path / "bundle", exif_rotate=True)
    picture = np.array(crops()[0])
    with Engine(bundle) as engine:
        assert engine.info.exif_rotate == 1
        with pytest.raises(LibraryError, match=r"turned by their EXIF orientation.*params\.images_upright") as caught:
            engine.preprocess(picture)
        assert caught.value.status == Status.UNSUPPORTED
    with Engine(bundle, images_upright=1) as engine, Engine(exported.fp32) as plain:
        np.testing.assert_array_equal(engine.preprocess(picture), plain.preprocess(picture))
        assert (plain.info.exif_rotate, plain.info.depth16_scale) == (0, 0)


def test_what_becomes_of_16_bits_is_told_to_whoever_decodes(exported, tmp_path):
    with Engine(with_preprocessing(exported, tmp_path / "bundle", depth16="scale")) as engine:
        assert engine.info.depth16_scale == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resize_mode": "stretch"}, "resize mode that this library does not know"),
        ({"resize_mode": "short", "resize_size": [80, 90]}, "short side to two lengths"),
        ({"resize_mode": "squash", "resize_size": [63, 64]}, "crops more than it resizes to"),
        ({"image_size": [64, 64, 64]}, "neither a number nor a height and a width"),
        ({"depth16": "half"}, "preprocessing that this library does not know"),
        ({"exif_rotate": "yes"}, "is not a manifest"),
    ],
)
def test_a_recipe_that_cannot_be_done_is_refused_in_a_sentence(exported, tmp_path, change, words):
    bundle = with_preprocessing(exported, tmp_path / "bundle", **change)
    with pytest.raises(LibraryError, match=words) as caught, Engine(bundle):
        pass
    assert caught.value.status == Status.BUNDLE
