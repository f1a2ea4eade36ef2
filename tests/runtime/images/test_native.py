"""The C library as the preprocessing of `run-ssl compare`: the same bytes, from any number of threads."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from runtime.bundle.manifest import Preprocessing
from runtime.commands.run_ssl import app
from runtime.errors import DataError, UsageError
from runtime.images.native import NativePreprocessor
from runtime.images.preprocessing import preprocess
from tests.conftest import crops
from tests.helpers.command_lines import refused
from tests.helpers.cpp.build import build_library, require_tools


@pytest.fixture(scope="module")
def library():
    require_tools()
    return build_library() / "lib" / "libresnet_engine.so"


def contract(interpolation="bilinear", size=64, colour="RGB"):
    return Preprocessing(
        image_size=size,
        resize_size=size + 9,
        crop_pct=0.875,
        interpolation=interpolation,
        mean=(0.5,) * len(colour),
        std=(0.5,) * len(colour),
        colour=colour,
    )


def test_a_library_of_another_version_is_refused_before_anything_is_called(tmp_path):
    require_tools()
    source = tmp_path / "other.c"
    functions = ("rne_preprocessor_run", "rne_preprocessor_open", "rne_preprocessor_close", "rne_last_error")
    calls = "".join(f"void *{name}(void) {{ __builtin_trap(); }}\n" for name in functions)
    source.write_text(f'{calls}const char *rne_version(void) {{ return "98.7.6 openvino"; }}\n')
    library = tmp_path / "libother.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    with pytest.raises(UsageError, match=r"libother.so is of version 98.7.6, this run-ssl of .*: build it again"):
        NativePreprocessor(library, contract())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_pictures_of_every_mode_give_pillows_bytes(library, interpolation, mode):
    native = NativePreprocessor(library, contract(interpolation))
    for picture in crops()[::6]:
        picture = picture.convert(mode)
        np.testing.assert_array_equal(native(picture), preprocess(picture, contract(interpolation)))


@pytest.mark.parametrize("colour", ["L", "RGBA"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_networks_of_one_and_four_channels_get_pillows_bytes(library, colour, mode):
    native = NativePreprocessor(library, contract(colour=colour))
    for picture in crops()[::12]:
        picture = picture.convert(mode)
        np.testing.assert_array_equal(native(picture), preprocess(picture, contract(colour=colour)))
    # A picture that has its size already is converted and cropped alone.
    picture = crops()[0].resize((73, 73)).convert(mode)
    expected = np.asarray(picture.convert(colour).crop((4, 4, 68, 68))).reshape(64, 64, -1)
    np.testing.assert_array_equal(native(picture), expected)


def test_threads_share_it(library):
    native, pictures = NativePreprocessor(library, contract()), crops()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(native, pictures))
    for picture, pixels in zip(pictures, found, strict=True):
        np.testing.assert_array_equal(pixels, preprocess(picture, contract()))


def test_a_picture_that_would_not_fit_in_memory_is_refused(library):
    native = NativePreprocessor(library, contract(size=224))
    with pytest.raises(DataError):
        native(Image.new("RGB", (1, 1_000_000)))


def test_another_library_is_refused(tmp_path):
    (tmp_path / "libother.so").write_bytes(b"no library")
    for path in (tmp_path / "libother.so", tmp_path / "absent.so"):
        with pytest.raises(UsageError, match="make cpp"):
            NativePreprocessor(path, contract())


def test_compare_says_the_same_with_it(library, exported, class_folders):
    command = ["compare", str(exported.fp32), "--data", str(class_folders), "--engines", "openvino", "--json"]
    command += ["--weights", str(exported.checkpoint)]
    results = [CliRunner().invoke(app, [*command, *more]) for more in ([], ["--native", str(library)])]
    assert [result.exit_code for result in results] == [0, 0], results[1].output
    plain, native = (json.loads(result.stdout) for result in results)
    for found in (plain, native):
        found["original"].pop("images_per_s")
        found["data"].pop("seconds")
        found["data"].pop("images_per_s")
        for engine in found["engines"]:
            engine.pop("images_per_s")
    assert native == plain


def test_compare_refuses_a_file_that_is_no_library(exported, class_folders, tmp_path):
    command = ["compare", str(exported.fp32), "--data", str(class_folders), "--weights", str(exported.checkpoint)]
    result = CliRunner().invoke(app, [*command, "--native", str(tmp_path / "absent.so")])
    refused(result, "make cpp", code=2)
