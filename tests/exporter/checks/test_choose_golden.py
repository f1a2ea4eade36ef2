"""Which images an export is judged on."""

import re
from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image

from calibration.images.sampling import sample_images, split_held_out
from exporter.checks.choose_golden import choose_golden
from exporter.request import Int8Request
from runtime.bundle.manifest import Preprocessing
from runtime.errors import DataError
from runtime.images.losses import Losses
from runtime.images.preprocessing import preprocess
from tests.conftest import MEAN, STD
from tests.helpers.image_folders import picture, write_picture
from tests.helpers.image_sources import written

PREPROCESSING = Preprocessing(image_size=8, resize_size=9, crop_pct=0.875, interpolation="bilinear", mean=MEAN, std=STD)


def folder_of(tmp_path, count):
    for index in range(count):
        write_picture(tmp_path / f"class{index % 4}" / f"{index:03}.png", index)
    return tmp_path


def names_of(chosen):
    return [PurePath(image.name).name for image in chosen.dataset.images]


def test_images_given_are_taken_and_nothing_is_said(tmp_path):
    chosen = choose_golden(folder_of(tmp_path, 12), Int8Request(images=tmp_path / "absent"), PREPROCESSING)
    assert (len(chosen.dataset), chosen.notice, chosen.held_out) == (8, "", frozenset())
    assert chosen.description == f"8 images of {tmp_path}"


def test_without_int8_the_photographs_are_taken_and_that_is_said():
    chosen = choose_golden(None, None, PREPROCESSING)
    assert names_of(chosen) == ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"]
    assert "verified on the four packaged photographs" in chosen.notice
    assert "--golden FOLDER" in chosen.notice


@pytest.mark.parametrize("count", [64, 200])
def test_calibration_neither_measures_nor_judges_candidates_on_the_images_held_out(tmp_path, count):
    request = Int8Request(images=folder_of(tmp_path, count), count=count, seed=5)
    chosen = choose_golden(None, request, PREPROCESSING)
    assert len(chosen.dataset) == len(chosen.held_out) == 8
    assert {image.name for image in chosen.dataset.images} == chosen.held_out
    sample = sample_images(tmp_path, count=count, seed=5, leave_out=chosen.held_out)
    measured, judging = split_held_out(sample)
    used = {image.name for image in (*measured.images, *judging.images)}
    assert len(used) == count - 8
    assert not used & chosen.held_out
    assert "8 images of" in chosen.notice
    assert "the bundle keeps them" in chosen.notice


@pytest.mark.parametrize("kind", ["list", "parquet", "tar"])
def test_images_are_held_out_of_lists_tables_and_shards_too(tmp_path, kind):
    source = written(tmp_path, kind, 64)
    chosen = choose_golden(None, Int8Request(images=source, count=64), PREPROCESSING)
    assert len(chosen.dataset) == len(chosen.held_out) == 8
    used = sample_images(source, count=64, leave_out=chosen.held_out)
    assert (len(used.dataset), used.available) == (56, 56)
    assert not {image.name for image in used.dataset.images} & chosen.held_out
    pixels, lost = chosen.dataset.load(PREPROCESSING)
    # Read one by one by Pillow: the number in a name, or the row, is the picture's seed.
    numbers = [int(re.search(r"(\d+)\D*$", image.name)[1]) for image in chosen.dataset.images]
    expected = [preprocess(Image.fromarray(picture(number)), PREPROCESSING) for number in numbers]
    np.testing.assert_array_equal(pixels, expected)
    assert lost == Losses()


def test_the_seed_decides_which_images_and_the_same_seed_gives_the_same(tmp_path):
    folder = folder_of(tmp_path, 100)
    first, again, other = (
        choose_golden(None, Int8Request(images=folder, seed=seed), PREPROCESSING) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.held_out != other.held_out


# One in eight, and never so many that fewer than eight are left.
@pytest.mark.parametrize(("count", "expected"), [(8, 0), (9, 1), (15, 1), (24, 3), (63, 7), (64, 8), (70, 8)])
def test_a_small_folder_gives_fewer_and_eight_images_are_all_for_calibration(tmp_path, count, expected):
    chosen = choose_golden(None, Int8Request(images=folder_of(tmp_path, count)), PREPROCESSING)
    assert len(chosen.held_out) == expected
    assert len(chosen.dataset) == (expected or 4)
    assert ("packaged photographs" in chosen.notice) == (expected == 0)


def test_images_that_cannot_be_read_judge_nothing(tmp_path):
    folder = folder_of(tmp_path, 64)
    names = sorted(choose_golden(None, Int8Request(images=folder), PREPROCESSING).held_out)
    (folder / names[0]).write_bytes(b"no picture")
    assert sorted(choose_golden(None, Int8Request(images=folder), PREPROCESSING).held_out) == names[1:]
    for name in names[1:]:
        (folder / name).write_bytes(b"no picture")
    chosen = choose_golden(None, Int8Request(images=folder), PREPROCESSING)
    assert "packaged photographs" in chosen.notice
    assert chosen.held_out == frozenset()


def test_a_calibration_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'absent'} is not a folder")):
        choose_golden(None, Int8Request(images=tmp_path / "absent"), PREPROCESSING)
