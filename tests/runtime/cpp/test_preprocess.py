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

from runtime.bundle.manifest import Colour, Preprocessing, ResizeMode
from runtime.errors import DataError
from runtime.images.preprocessing import preprocess
from tests.helpers.cpp.preprocess import (
    LACKS_INSTRUCTIONS,
    Answer,
    Array,
    Request,
    answer_requests,
    build_preprocess,
    encode_fields,
    require_compiler,
    sides,
)
from tests.helpers.tools import require_flags, require_tool

# The four that a processor may take, and the plain code that they are judged by.
PATHS = ("best", "avx2", "sse41", "plain", "reference")
INVALID_ARGUMENT = 1
SEED = 5
RANDOM_IMAGES = 1200
RANDOM_RECIPES = 300
# In the order of rne_resize_mode.
MODES: tuple[ResizeMode, ...] = ("short", "cover", "squash")
# Sanitised code is several times slower.
SANITISED_IMAGES = 300
LONGEST_SIDE = 900
LARGEST_RESIZE = 320
# Of resized images, so that a line of 1x900 is not resized to 80 million pixels.
MOST_RESIZED_PIXELS = 300_000
# Lines, single pixels, the known difference of Pillow 13, and photographs as they are in ImageNet.
EDGES = [
    (1, 1, 224, 256),
    (1, 900, 2, 3),
    (900, 1, 3, 3),
    (2, 3, 224, 224),
    (587, 263, 224, 256),
    (500, 375, 224, 256),
    (375, 500, 224, 256),
    (500, 375, 256, 256),
    (900, 700, 1, 1),
    (899, 900, 1, 2),
    (256, 256, 224, 256),
    (333, 256, 224, 256),
    (256, 333, 255, 256),
    (17, 16, 15, 16),
]


def random_requests(count: int) -> list[Request]:
    """Return requests with sides of 1 to 900 px, all formats, both filters, padded rows, all kinds of crop."""
    rng = np.random.default_rng(SEED)
    sizes = list(EDGES) * 2
    while len(sizes) < count:
        width, height = np.exp(rng.uniform(0, np.log(LONGEST_SIDE + 1), 2)).astype(int).tolist()
        shorter, longer = min(width, height), max(width, height)
        most = min(LARGEST_RESIZE, max(1, int((MOST_RESIZED_PIXELS * shorter / longer) ** 0.5)))
        resize = shorter if rng.random() < 0.1 and shorter <= most else int(rng.integers(1, most + 1))
        crop = max(1, resize - int(rng.integers(0, 4))) if rng.random() < 0.5 else int(rng.integers(1, resize + 1))
        sizes.append((width, height, crop, resize))
    return [
        Request(
            pixels=random_pixels(rng, (height, width, int(rng.choice([1, 3, 4]))), extreme=rng.random() < 0.3),
            resize=resize,
            crop=crop,
            bicubic=index % 2 == 0,
            padding=int(rng.choice([0, 0, 1, 3, 64])),
        )
        for index, (width, height, crop, resize) in enumerate(sizes)
    ]


def random_recipes(count: int) -> list[Request]:
    """Return requests of every resize mode, to sizes that are mostly not square."""
    rng = np.random.default_rng(SEED)
    requests: list[Request] = []
    while len(requests) < count:
        width, height = rng.integers(1, 300, 2).tolist()
        mode = len(requests) % 3
        high, wide = rng.integers(1, 120, 2).tolist()
        if mode != 2 and max(width, height) > 20 * min(width, height):
            continue
        resize = (high, high) if mode == 0 else (high, wide)
        crop = (int(rng.integers(1, resize[0] + 1)), int(rng.integers(1, resize[1] + 1)))
        requests.append(
            Request(
                pixels=random_pixels(rng, (height, width, int(rng.choice([1, 3, 4]))), extreme=rng.random() < 0.3),
                resize=resize[0] if mode == 0 else resize,
                crop=crop,
                bicubic=bool(rng.random() < 0.5),
                padding=int(rng.choice([0, 3])),
                mode=mode,
            )
        )
    return requests


def random_pixels(rng: np.random.Generator, shape: tuple[int, int, int], *, extreme: bool) -> Array:
    """Return random bytes; extreme ones are 0 and 255 only, so that bicubic sums leave the range of a byte."""
    if extreme:
        return (rng.integers(0, 2, shape) * 255).astype(np.uint8)
    return rng.integers(0, 256, shape).astype(np.uint8)


def picture_of(request: Request) -> Image.Image:
    """Return the image as Pillow has it, in the mode of its format."""
    return Image.fromarray(request.pixels[..., 0] if request.pixels.shape[2] == 1 else request.pixels)


def pillows_pixels(request: Request) -> bytes:
    """Return what Pillow gives in two one-axis resizes and a crop; sizes by torchvision's rule, retyped.

    With alpha Pillow's resize is two conversions around the passes, and nothing where no axis changes.
    """
    rgb = picture_of(request).convert(request.colour)
    width, height = rgb.size
    short, target_wide = sides(request.resize)
    wide, high = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    if MODES[request.mode] == "squash":
        wide, high = target_wide, short
    if MODES[request.mode] == "cover":
        ratio = min(height / short, width / target_wide)
        wide, high = round(width / ratio), round(height / ratio)
    crop_high, crop_wide = sides(request.crop)
    filter_ = Image.Resampling.BICUBIC if request.bicubic else Image.Resampling.BILINEAR
    weighed = request.colour == "RGBA" and (wide, high) != rgb.size
    passed = rgb.convert("RGBa") if weighed else rgb
    resized = passed.resize((wide, height), filter_).resize((wide, high), filter_)
    resized = resized.convert("RGBA") if weighed else resized
    left, top = round((wide - crop_wide) / 2), round((high - crop_high) / 2)
    return resized.crop((left, top, left + crop_wide, top + crop_high)).tobytes()


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


def differing(answers: Sequence[Answer], requests: Sequence[Request], expected: Sequence[bytes]) -> list[str]:
    """Return a line for every answer that is an error or has another byte."""
    return [
        f"{request.pixels.shape} to {request.resize}, crop {request.crop}, bicubic {request.bicubic}, status {a.status}"
        for a, request, pixels in zip(answers, requests, expected, strict=True)
        if a.status != 0 or a.payload != pixels
    ]


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
