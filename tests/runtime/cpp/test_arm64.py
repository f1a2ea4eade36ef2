"""The C library cross-compiled for 64-bit ARM, in QEMU: its NEON passes give Pillow's bytes, its interface holds.

QEMU computes as the processor does; the time that it takes says nothing of one. `make test-arm64` tries more.
"""

import platform
import subprocess
from dataclasses import replace

import pytest

from tests.helpers.cpp.arm64 import (
    COMPILER,
    PROCESSOR,
    QEMU,
    build_for_arm64,
    count_instructions,
    require_arm64,
    small_image,
)
from tests.helpers.cpp.build import BUILDS, SOURCE, TOGETHER, build_library, locked, require_tools, run
from tests.helpers.cpp.preprocess import answer_requests
from tests.helpers.cpp.random_pictures import (
    RANDOM_IMAGES,
    RANDOM_RECIPES,
    differing,
    pillows_pixels,
    random_recipes,
    random_requests,
)

# The sanitizers take some ten times as long.
SANITIZED_IMAGES = 100

pytestmark = pytest.mark.skipif(
    platform.machine() in ("aarch64", "arm64"), reason="the other tests try this processor itself"
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return build_for_arm64(tmp_path_factory.mktemp("arm64"))


@pytest.mark.parametrize("path", ["best", "neon", "plain", "reference"])
def test_every_byte_is_pillows(runner, path):
    requests = [*random_requests(RANDOM_IMAGES), *random_recipes(RANDOM_RECIPES)]
    answers = answer_requests(runner, path, [request.encode() for request in requests])
    assert differing(answers, requests, [pillows_pixels(request) for request in requests]) == []


@pytest.mark.parametrize("colour", ["L", "RGBA"])
def test_every_byte_of_one_and_of_four_channels_is_pillows(runner, colour):
    requests = [replace(request, colour=colour) for request in random_requests(RANDOM_IMAGES)]
    answers = answer_requests(runner, "neon", [request.encode() for request in requests])
    assert differing(answers, requests, [pillows_pixels(request) for request in requests]) == []


def test_no_memory_error_and_no_undefined_behaviour_is_found(tmp_path):
    runner = build_for_arm64(tmp_path, sanitized=True)
    requests = [*random_requests(SANITIZED_IMAGES), *random_recipes(SANITIZED_IMAGES)]
    answers = answer_requests(runner, "neon", [request.encode() for request in requests])
    assert differing(answers, requests, [pillows_pixels(request) for request in requests]) == []


@pytest.mark.parametrize("bicubic", [False, True])
def test_neon_takes_at_most_half_of_the_plain_passes_instructions(runner, bicubic):
    request = small_image("RGB", bicubic=bicubic)
    assert count_instructions(runner, "neon", request) * 2 <= count_instructions(runner, "plain", request)


def test_the_toolchain_file_builds_the_library_and_its_interface_holds(exported):
    require_tools()
    require_arm64()
    toolchain = {"CMAKE_TOOLCHAIN_FILE": str(SOURCE / "cmake" / "aarch64-linux-gnu.cmake")}
    # api_main is for a library without a back end.
    build_library("arm64", BUILD_SHARED_LIBS="OFF", RNE_OPENVINO="OFF", RNE_ONNXRUNTIME="OFF", **toolchain, **TOGETHER)
    build = BUILDS / "arm64"
    with locked():
        words = [COMPILER, "-std=c++17", "-O1", "-static", f"-I{SOURCE / 'include'}", f"-I{SOURCE / 'src'}"]
        words += [str(SOURCE / "tests/api_main.cpp"), str(build / "libresnet_engine.a"), "-pthread"]
        run(*words, "-o", str(build / "api_main"))
    words = [QEMU, "-cpu", PROCESSOR, str(build / "api_main"), str(exported.fp32)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
