"""The contract from picture to pixels, against plain NumPy, torchvision, timm, and several Pillows."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.bundle.manifest import Preprocessing, sides
from runtime.errors import BundleError, DataError
from runtime.images.preprocessing import crop_offset, normalise, preprocess, resized_size
from tests.helpers.paths import ROOT
from tests.helpers.pillow.pillow_contract import MEAN, MODES, PALETTE, STD, Case, build, write_cases
from tests.helpers.pillow.resample_reference import evaluation_pixels

# The one list of Pillow versions; the Makefile's environment step installs them below .venv/pillows.
VERSIONS = (ROOT / "tests" / "helpers" / "pillow" / "pillow_versions.txt").read_text().split()
# From this version on, Pillow itself swaps the passes for some sizes, so timm's own bytes change.
PASSES_SWAP_FROM = 13
# Sizes at the edges: one pixel, lines, no resize needed, and the size of a known Pillow 13 difference.
EDGES = [(1, 1), (1, 90), (200, 2), (36, 36), (36, 50), (587, 263), (3, 400), (40, 41)]


def draw(mode: str, width: int, height: int, seed: int) -> Any:
    """Return random contents for a picture of `mode`; I;16 reaches over 255."""
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        return rng.integers(0, 400, (height, width)).astype("<u2")
    if mode == "1":
        return (rng.integers(0, 2, (height, width)) * 255).astype(np.uint8)
    channels = {"RGB": (3,), "LA": (2,), "RGBA": (4,), "CMYK": (4,)}.get(mode, ())
    return rng.integers(0, 256, (height, width, *channels)).astype(np.uint8)


def to_rgb(mode: str, raw: Any) -> Any:
    """Return the colours by hand, (H, W, 3) uint8. Source: Pillow, Convert.c."""
    if mode == "P":
        return PALETTE[raw]
    if mode == "CMYK":
        white = 255 - raw[..., 3:].astype(np.int64)
        product = raw[..., :3] * white + 128
        return np.clip(white - ((product + (product >> 8)) >> 8), 0, 255).astype(np.uint8)
    if raw.ndim == 3 and raw.shape[2] >= 3:
        return raw[..., :3]
    grey = np.minimum(raw[..., 0] if raw.ndim == 3 else raw, 255).astype(np.uint8)
    return np.stack([grey] * 3, axis=-1)


def expected(case: Case, raw: Any) -> Any:
    contract = case.preprocessing
    return evaluation_pixels(
        to_rgb(case.mode, raw),
        resize=sides(contract.resize_size)[0],
        crop=contract.height,
        interpolation=contract.interpolation,
    )


def many_cases() -> list[Case]:
    rng = np.random.default_rng(13)
    sizes = EDGES + [(int(width), int(height)) for width, height in rng.integers([1, 8], 261, (32, 2))]
    return [
        Case(
            mode=MODES[index % len(MODES)] if (width, height) != (587, 263) else "RGB",
            width=width,
            height=height,
            crop=32 if (width, height) != (587, 263) else 224,
            crop_pct=float(rng.choice([0.875, 0.875, 0.95, 1.0])),
            interpolation=("bilinear", "bicubic")[index // len(MODES) % 2],
        )
        for index, (width, height) in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("width", "height", "short", "size"),
    [(500, 375, 256, (341, 256)), (375, 500, 256, (256, 341)), (7, 7, 3, (3, 3)), (587, 263, 256, (571, 256))],
)
def test_short_side_is_exact_and_long_side_rounds_down(width: int, height: int, short: int, size: Any) -> None:
    assert resized_size(width, height, short) == size


def test_sizes_are_torchvisions() -> None:
    from torchvision.transforms.functional import _compute_resized_output_size

    for width, height, short in np.random.default_rng(1).integers(1, [5000, 5000, 600], (2000, 3)).tolist():
        high, wide = _compute_resized_output_size((height, width), [short])
        assert resized_size(width, height, short) == (wide, high)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 160),
    height=st.integers(1, 160),
    crop=st.integers(1, 48),
    crop_pct=st.sampled_from([0.4, 0.875, 0.95, 1.0]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_any_size_gives_the_plain_two_pass_bytes(
    width: int, height: int, crop: int, crop_pct: float, interpolation: str
) -> None:
    case = Case("RGB", width, height, crop, crop_pct, interpolation)
    raw = draw("RGB", width, height, seed=width * height)
    np.testing.assert_array_equal(preprocess(build("RGB", raw), case.preprocessing), expected(case, raw))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_reference_bytes(mode: str, interpolation: str) -> None:
    case = Case(mode, 83, 61, 32, 0.875, interpolation)
    raw = draw(mode, 83, 61, seed=5)
    np.testing.assert_array_equal(preprocess(build(mode, raw), case.preprocessing), expected(case, raw))


def test_skipped_rows_and_columns_change_no_byte_of_pillows_own_two_passes() -> None:
    for index, (width, height) in enumerate([(500, 375), (375, 500), (2000, 90), (90, 2000), (100, 80)]):
        case = Case("RGB", width, height, 224, 0.875, ("bilinear", "bicubic")[index % 2])
        image = build("RGB", draw("RGB", width, height, seed=index))
        wide, high = resized_size(width, height, 256)
        method = Image.Resampling[case.interpolation.upper()]
        plain = image.resize((wide, height), method).resize((wide, high), method)
        left, top = round((wide - 224) / 2), round((high - 224) / 2)
        kept = np.asarray(plain)[top : top + 224, left : left + 224]
        np.testing.assert_array_equal(preprocess(image, case.preprocessing), kept)


@pytest.fixture(scope="module")
def references() -> list[tuple[Case, Any, Any]]:
    """Return every case with its contents and what the slow reference makes of them."""
    cases = many_cases()
    raws = [draw(case.mode, case.width, case.height, seed=index) for index, case in enumerate(cases)]
    return [(case, raw, expected(case, raw)) for case, raw in zip(cases, raws, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_pillow_gives_the_reference_bytes_and_timms_before_13(
    version: str, references: list[tuple[Case, Any, Any]], tmp_path: Path
) -> None:
    folder = ROOT / ".venv" / "pillows" / version
    if not (folder / "PIL").is_dir():
        pytest.skip(f"Pillow {version} is not below .venv/pillows: make the environment to install it there")
    write_cases(tmp_path / "cases.npz", [case for case, _, _ in references], [raw for _, raw, _ in references])
    swapped = int(version.split(".")[0]) >= PASSES_SWAP_FROM
    flags = [] if swapped else ["--timm"]
    script = [
        sys.executable,
        str(ROOT / "tests" / "helpers" / "pillow" / "pillow_contract.py"),
        "cases.npz",
        "out.npz",
        *flags,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / "out.npz")
    assert str(out["version"]) == version
    for index, (case, _, wanted) in enumerate(references):
        np.testing.assert_array_equal(out[f"ours{index}"], wanted, err_msg=str(case))
        if not swapped:
            np.testing.assert_array_equal(out[f"normalised{index}"], out[f"timm{index}"], err_msg=str(case))


def test_some_other_pillow_is_there_to_test_with() -> None:
    found = [version for version in VERSIONS if (ROOT / ".venv" / "pillows" / version / "PIL").is_dir()]
    if not found:
        pytest.skip("no Pillow below .venv/pillows: the contract was tested on one version only")
    assert any(int(version.split(".")[0]) < PASSES_SWAP_FROM for version in found)


def test_normalise_equals_torchvision_in_every_bit() -> None:
    from torchvision.transforms import Compose, Normalize, ToTensor

    pixels = np.random.default_rng(2).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    pixels[0].reshape(-1)[:256] = np.arange(256)
    case = Case("RGB", 1, 1, 40, 1.0, "bilinear")
    transform = Compose([ToTensor(), Normalize(MEAN, STD)])
    got = normalise(pixels, case.preprocessing)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, np.stack([transform(Image.fromarray(image)).numpy() for image in pixels]))


def test_a_line_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(DataError, match="1x40000 px would become 256x10240000 px"):
        preprocess(Image.new("RGB", (1, 40_000)), Case("RGB", 1, 40_000, 224, 0.875, "bilinear").preprocessing)


def test_a_crop_larger_than_the_resize_is_the_bundles_error() -> None:
    contract = Case("RGB", 8, 8, 32, 1.0, "bilinear").preprocessing.model_copy(update={"resize_size": 16})
    with pytest.raises(BundleError, match="resizes to 16 px and crops 32 px"):
        preprocess(Image.new("RGB", (8, 8)), contract)


@pytest.mark.parametrize("resize_size", [(16, 40), (40, 16)])
def test_a_crop_larger_than_one_side_of_the_resize_is_the_bundles_error(resize_size: tuple[int, int]) -> None:
    changed = {"resize_size": resize_size, "resize_mode": "squash"}
    contract = Case("RGB", 8, 8, 32, 1.0, "bilinear").preprocessing.model_copy(update=changed)
    with pytest.raises(BundleError, match="px and crops 32 px"):
        preprocess(Image.new("RGB", (8, 8)), contract)


@pytest.mark.parametrize("given", [np.zeros((8, 8, 3), np.uint8), "picture.jpg", None])
def test_what_is_no_picture_is_refused_in_one_line(given: Any) -> None:
    with pytest.raises(DataError, match=r"preprocess was given a (ndarray|str|NoneType), expected a PIL image"):
        preprocess(given, Case("RGB", 8, 8, 8, 1.0, "bilinear").preprocessing)


@pytest.mark.parametrize(
    ("length", "size", "offset"), [(5, 4, 0), (7, 4, 2), (9, 4, 2), (11, 4, 4), (4, 4, 0), (6, 4, 1), (1, 1, 0)]
)
def test_the_crop_begins_in_the_middle_and_halves_go_to_even(length: int, size: int, offset: int) -> None:
    assert crop_offset(length, size) == offset


def test_the_bound_of_the_resized_picture_is_exact() -> None:
    # Short side 423 to 10,000: 757 rows become 17,895, and 417 of 233 columns 17,896; 178,956,970 pixels are the bound.
    contract = Preprocessing(
        image_size=2, resize_size=10_000, crop_pct=2 / 10_000, interpolation="bilinear", mean=(0,) * 3, std=(1,) * 3
    )
    within = Image.fromarray(np.full((757, 423, 3), 200, np.uint8))
    assert preprocess(within, contract).tolist() == [[[200] * 3] * 2] * 2
    beyond = Image.fromarray(np.full((417, 233, 3), 200, np.uint8))
    with pytest.raises(DataError, match="of 233x417 px would become 10000x17896 px, expected at most 178956970 pixels"):
        preprocess(beyond, contract)
