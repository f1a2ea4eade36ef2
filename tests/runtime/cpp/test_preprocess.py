"""The C++ preprocessing against Pillow, the Python runtime, and its own plain reference: the same bytes everywhere.

Needs a C++ compiler (CXX, or c++) and nothing that CMake would find.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.bundle.manifest import Colour, Preprocessing
from runtime.errors import DataError
from runtime.images.preprocessing import preprocess
from tests.helpers.cpp.preprocess import (
    LACKS_INSTRUCTIONS,
    Answer,
    Request,
    answer_requests,
    build_preprocess,
    encode_fields,
    require_compiler,
    sides,
)
from tests.helpers.cpp.random_pictures import (
    MODES,
    RANDOM_IMAGES,
    RANDOM_RECIPES,
    SEED,
    differing,
    picture_of,
    pillows_pixels,
    random_recipes,
    random_requests,
)
from tests.helpers.tools import require_flags, require_tool

# What a processor may take, and the plain code that they are judged by.
PATHS = ("best", "avx2", "sse41", "neon", "plain", "reference")
INVALID_ARGUMENT = 1
# Sanitised code is several times slower.
SANITISED_IMAGES = 300


def pythons_pixels(request: Request) -> bytes:
    """Return what the Python runtime gives."""
    contract = Preprocessing(
        image_size=request.crop,
        resize_size=request.resize,
        crop_pct=sides(request.crop)[0] / sides(request.resize)[0],
        interpolation="bicubic" if request.bicubic else "bilinear",
        mean=(0.5,) * len(request.colour),
        std=(0.25,) * len(request.colour),
        resize_mode=MODES[request.mode],
        colour=request.colour,
    )
    return preprocess(picture_of(request), contract).tobytes()


def answers_or_skip(program: Path, path: str, requests: Sequence[bytes]) -> list[Answer]:
    """Return the answers; skip where this processor lacks the instructions."""
    try:
        return answer_requests(program, path, requests)
    except subprocess.CalledProcessError as error:
        if error.returncode == LACKS_INSTRUCTIONS:
            pytest.skip(f"this processor has no {path}")
        raise AssertionError(f"{path}: {error.stderr}") from error


@pytest.fixture(scope="session")
def compiler() -> str:
    return require_compiler()


@pytest.fixture(scope="session")
def program(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_preprocess(compiler, tmp_path_factory.mktemp("cpp") / "preprocess_main", "-O2")


@pytest.fixture(scope="session")
def sanitised(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitised")
    # -g1, lines alone: following every variable through sanitised and optimised code takes gcc minutes.
    flags = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    require_flags(compiler, flags, package="g++")
    return build_preprocess(compiler, folder / "preprocess_main", *flags)


@pytest.fixture(scope="session")
def requests() -> list[Request]:
    return random_requests(RANDOM_IMAGES)


@pytest.fixture(scope="session")
def expected(requests: list[Request]) -> list[bytes]:
    return [pillows_pixels(request) for request in requests]


@pytest.mark.parametrize("path", PATHS)
def test_every_byte_is_pillows(program: Path, requests: list[Request], expected: list[bytes], path: str) -> None:
    answers = answers_or_skip(program, path, [request.encode() for request in requests])
    assert differing(answers, requests, expected) == []


def test_every_byte_is_the_python_runtimes(program: Path, requests: list[Request]) -> None:
    answers = answer_requests(program, "best", [request.encode() for request in requests])
    assert differing(answers, requests, [pythons_pixels(request) for request in requests]) == []


@pytest.mark.parametrize("path", PATHS)
def test_every_byte_is_pillows_and_pythons_in_every_resize_mode(program: Path, path: str) -> None:
    requests = random_recipes(RANDOM_RECIPES)
    answers = answers_or_skip(program, path, [request.encode() for request in requests])
    assert differing(answers, requests, [pillows_pixels(request) for request in requests]) == []
    assert differing(answers, requests, [pythons_pixels(request) for request in requests]) == []


# The reference knows RGB alone.
@pytest.mark.parametrize("path", PATHS[:-1])
@pytest.mark.parametrize("colour", ["L", "RGBA"])
def test_every_byte_of_one_and_of_four_channels_is_pillows_and_pythons(
    program: Path, requests: list[Request], path: str, colour: Colour
) -> None:
    wanted = [replace(request, colour=colour) for request in (*requests, *random_recipes(RANDOM_RECIPES))]
    answers = answers_or_skip(program, path, [request.encode() for request in wanted])
    assert differing(answers, wanted, [pillows_pixels(request) for request in wanted]) == []
    assert differing(answers, wanted, [pythons_pixels(request) for request in wanted]) == []


@pytest.mark.parametrize("colour", ["L", "RGBA"])
def test_no_byte_beyond_an_image_is_touched_for_one_and_four_channels(
    sanitised: Path, requests: list[Request], colour: Colour
) -> None:
    wanted = [replace(request, colour=colour) for request in requests[:SANITISED_IMAGES]]
    answers = answers_or_skip(sanitised, "best", [request.encode() for request in wanted])
    assert differing(answers, wanted, [pillows_pixels(request) for request in wanted]) == []


def test_every_colour_has_pillows_luminance_and_alpha_its_products(program: Path) -> None:
    # All pairs of a colour and its alpha, twice as wide so that a resize halves them again.
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256), indexing="ij"), axis=-1).astype(np.uint8)
    alpha = np.repeat(np.concatenate([pairs[..., :1]] * 2 + [255 - pairs[..., :1], pairs[..., 1:]], axis=-1), 2, axis=1)
    halved = Request(pixels=alpha, resize=(256, 256), crop=256, mode=2, colour="RGBA")
    rng = np.random.default_rng(SEED)
    colours = Request(pixels=rng.integers(0, 256, (512, 512, 3), np.uint8), resize=512, crop=512, colour="L")
    requests = [halved, colours]
    answers = answer_requests(program, "best", [request.encode() for request in requests])
    single = [
        picture_of(halved).resize((256, 256), Image.Resampling.BILINEAR).tobytes(),
        picture_of(colours).convert("L").tobytes(),
    ]
    assert differing(answers, requests, single) == []


def test_no_byte_beyond_an_image_is_touched_in_any_resize_mode(sanitised: Path) -> None:
    requests = random_recipes(RANDOM_RECIPES)
    answers = answers_or_skip(sanitised, "best", [request.encode() for request in requests])
    assert [answer.status for answer in answers] == [0] * len(answers)


@pytest.mark.parametrize("path", PATHS)
def test_no_byte_beyond_an_image_is_touched_and_no_behaviour_is_undefined(
    sanitised: Path, requests: list[Request], expected: list[bytes], path: str
) -> None:
    some = slice(None, SANITISED_IMAGES)
    answers = answers_or_skip(sanitised, path, [request.encode() for request in requests[some]])
    assert differing(answers, requests[some], expected[some]) == []


@pytest.mark.parametrize(("compiler_name", "package"), [("g++", "g++"), ("clang++", "clang")])
def test_fused_multiply_add_changes_no_byte(
    compiler_name: str, package: str, tmp_path: Path, requests: list[Request], expected: list[bytes]
) -> None:
    found = require_tool(compiler_name, package=package)
    native = build_preprocess(found, tmp_path / "native", "-O3", "-march=native")
    answers = answer_requests(native, "plain", [request.encode() for request in requests])
    assert differing(answers, requests, expected) == []


def test_a_far_larger_photograph_has_pillows_bytes(program: Path) -> None:
    rng = np.random.default_rng(SEED)
    requests = [
        Request(pixels=rng.integers(0, 256, (1500, 2000, 3), np.uint8), resize=256, crop=224, bicubic=bicubic)
        for bicubic in (False, True)
    ]
    answers = answer_requests(program, "best", [request.encode() for request in requests])
    assert differing(answers, requests, [pillows_pixels(request) for request in requests]) == []


@pytest.mark.parametrize(("bicubic", "colour"), [(False, "RGB"), (True, "RGB"), (False, "L"), (True, "RGBA")])
def test_no_memory_is_taken_for_an_image_that_is_no_larger_than_the_first(
    program: Path, bicubic: bool, colour: Colour
) -> None:
    rng = np.random.default_rng(SEED)
    sizes = [(400, 300), *rng.integers(1, [401, 301], (200, 2)).tolist(), (399, 300), (400, 299), (1, 1), (199, 100)]
    requests = [
        Request(
            pixels=np.zeros((height, width, int(rng.choice([1, 3, 4]))), np.uint8),
            resize=9,
            crop=7,
            bicubic=bicubic,
            colour=colour,
        )
        for width, height in sizes
    ]
    first, *others = answer_requests(program, "best", [request.encode() for request in requests])
    assert first.allocations > 0
    assert [answer.allocations for answer in others] == [0] * len(others)


RGB, BYTES = 0, bytes(12)
REFUSED = [
    ((2, 2, 6, RGB, 4, 4, 4, 4, 0, 0, RGB), b"", "the image's data is a null pointer"),
    ((0, 2, 6, RGB, 4, 4, 4, 4, 0, 0, RGB), BYTES, "an image is 0x2 px"),
    ((2, 0, 6, RGB, 4, 4, 4, 4, 0, 0, RGB), BYTES, "an image is 2x0 px"),
    ((2**29, 2, 6, RGB, 4, 4, 4, 4, 0, 0, RGB), BYTES, "an image is 536870912x2 px"),
    ((2, 2**32 - 1, 6, RGB, 4, 4, 4, 4, 0, 0, RGB), BYTES, "an image is 2x4294967295 px"),
    ((2, 2, 5, RGB, 4, 4, 4, 4, 0, 0, RGB), BYTES, "rows are 5 bytes apart, expected at least the 6 bytes"),
    ((2, 2, 7, 2, 4, 4, 4, 4, 0, 0, RGB), BYTES, "rows are 7 bytes apart, expected at least the 8 bytes"),
    ((2, 2, 6, 7, 4, 4, 4, 4, 0, 0, RGB), BYTES, "format is 7"),
    ((2, 2, 6, RGB, 4, 4, 0, 4, 0, 0, RGB), BYTES, "the image is 0x4 px of 4x4, expected 1 px at least"),
    ((2, 2, 6, RGB, 4, 4, 4, 5, 0, 0, RGB), BYTES, "the image is 4x5 px of 4x4, expected 1 px at least, and no more"),
    ((2, 2, 6, RGB, 4, 20000, 4, 4, 0, 2, RGB), BYTES, "the resize is to 4x20000 px, expected at most 13377"),
    ((2, 2, 6, RGB, 4, 5, 4, 4, 0, 0, RGB), BYTES, "of the short side one number"),
    ((2, 2, 6, RGB, 4, 4, 4, 4, 0, 3, RGB), BYTES, "the resize mode is 3, expected RNE_SHORT"),
    ((2, 2, 6, RGB, 4, 4, 4, 4, 0, 0, 5), BYTES, "the colour of the pixels is 5, expected RNE_RGB"),
    ((1, 200_000_000, 3, RGB, 1, 1, 1, 1, 0, 0, RGB), BYTES, "would become 1x200000000 px"),
    # The long side of a cover is cut off behind the bound, so that it is still a number.
    ((1, 200_000_000, 3, RGB, 1, 1, 1, 1, 0, 1, RGB), BYTES, "would become 1x178956971 px"),
    ((2**29 - 1, 1, 2**29 - 1, 1, 13377, 13377, 4, 4, 0, 0, RGB), BYTES, "px, expected at most 178956970 pixels"),
]


@pytest.mark.parametrize(("fields", "data", "message"), REFUSED)
def test_what_no_image_could_be_is_refused_in_one_line(
    sanitised: Path, fields: tuple[int, ...], data: bytes, message: str
) -> None:
    (answer,) = answer_requests(sanitised, "best", [encode_fields(fields, data)])
    assert answer.status == INVALID_ARGUMENT
    text = answer.payload.decode()
    assert message in text
    assert "\n" not in text


def test_the_bound_of_the_resized_image_is_pythons(program: Path) -> None:
    # To a short side of 10,000: 17,895 rows are just within the bound, 17,896 are not.
    within = Request(pixels=np.full((757, 423, 1), 200, np.uint8), resize=10_000, crop=2)
    beyond = Request(pixels=np.full((417, 233, 1), 200, np.uint8), resize=10_000, crop=2)
    answers = answer_requests(program, "best", [within.encode(), beyond.encode()])
    assert (answers[0].status, answers[0].payload) == (0, bytes([200] * 12))
    assert answers[1].status == INVALID_ARGUMENT
    assert b"would become 10000x17896 px" in answers[1].payload
    with pytest.raises(DataError, match="would become 10000x17896 px"):
        pythons_pixels(beyond)
