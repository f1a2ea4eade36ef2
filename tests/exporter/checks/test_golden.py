import errno

import numpy as np
import pytest
import torch
from PIL import Image

from exporter.checks.golden import golden_files, golden_outputs, network_feed, run_original
from runtime.bundle.manifest import Preprocessing
from runtime.data.dataset import Dataset
from runtime.errors import CheckpointError, DataError, MachineError
from tests.conftest import MEAN, STD
from tests.helpers.damaged_images import DAMAGES, write_damaged
from tests.helpers.image_folders import write_picture
from tests.helpers.paths import PHOTOGRAPHS

PREPROCESSING = Preprocessing(image_size=8, resize_size=9, crop_pct=0.875, interpolation="bilinear", mean=MEAN, std=STD)
# One rounding each for the division by 255, the subtraction and the division.
NORMALISED_TOLERANCE = 4 * 2.0**-24 * 3


def test_packaged_photographs_are_taken_where_no_folder_is_given():
    names = [file.name for file in golden_files(None)]
    assert names == ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"]
    sources = (PHOTOGRAPHS / "SOURCES.md").read_text(encoding="utf-8")
    assert all(name in sources for name in names)


def test_eight_pictures_are_spread_evenly_over_a_larger_folder(tmp_path):
    for index in range(20):
        write_picture(tmp_path / f"{index:02}.png", index)
    # Every 2.5th of twenty.
    assert [file.stem for file in golden_files(tmp_path)] == ["00", "02", "05", "07", "10", "12", "15", "17"]


@pytest.mark.parametrize("count", [1, 7, 8])
def test_all_pictures_of_a_small_folder_are_taken(tmp_path, count):
    for index in range(count):
        write_picture(tmp_path / f"{index}.png", index)
    assert [file.stem for file in golden_files(tmp_path)] == [str(index) for index in range(count)]


def test_folders_below_are_searched_and_other_files_are_not_taken(tmp_path):
    write_picture(tmp_path / "b" / "deep" / "one.PNG")
    write_picture(tmp_path / "a.jpeg")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in golden_files(tmp_path)]
    assert found == ["a.jpeg", "b/deep/one.PNG"]


def test_empty_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(
        DataError, match=r"--golden .* holds no image: expected files such as \.jpg or \.png, found 1 \.txt"
    ):
        golden_files(tmp_path)


@pytest.mark.parametrize("name", ["absent", "file.png"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    write_picture(tmp_path / "file.png")
    with pytest.raises(DataError, match=rf"--golden .*{name} is not a directory"):
        golden_files(tmp_path / name)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_picture_damaged_in_any_way_is_named(tmp_path, kind):
    write_damaged(tmp_path / "broken.jpg", kind)
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read as an image"):
        Dataset.of_files(golden_files(tmp_path)).load(PREPROCESSING)[0]


def test_a_picture_that_the_machine_cannot_open_now_is_not_called_damaged(tmp_path, monkeypatch):
    write_picture(tmp_path / "whole.png")

    def open_none(*_arguments):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(Image, "open", open_none)
    with pytest.raises(MachineError, match=r"whole\.png cannot be read now \(Cannot allocate memory\)"):
        Dataset.of_files(golden_files(tmp_path)).load(PREPROCESSING)[0]


def test_unreadable_picture_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"broken\.png"):
        Dataset.of_files(golden_files(tmp_path)).load(PREPROCESSING)[0]


def test_pixels_are_one_array_in_the_order_of_the_files():
    pixels = Dataset.of_files(golden_files(None)).load(PREPROCESSING)[0]
    assert (pixels.shape, pixels.dtype) == ((4, 8, 8, 3), np.uint8)
    alone = Dataset.of_files(golden_files(None)[2:3]).load(PREPROCESSING)[0]
    np.testing.assert_array_equal(pixels[2:3], alone)


def test_feed_is_the_pixels_or_their_normalised_planes():
    pixels = Dataset.of_files(golden_files(None)).load(PREPROCESSING)[0]
    assert network_feed(pixels, PREPROCESSING, takes_floats=False) is pixels
    planes = network_feed(pixels, PREPROCESSING, takes_floats=True)
    expected = (pixels.astype(np.float64) / 255 - MEAN) / STD
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes, expected.transpose(0, 3, 1, 2), rtol=0, atol=NORMALISED_TOLERANCE)


class Sum(torch.nn.Module):
    """Two numbers per picture: the sum of its values, and `poison` times that."""

    def __init__(self, poison=1.0):
        super().__init__()
        self.poison = poison

    def forward(self, feed):
        total = feed.flatten(1).double().sum(dim=1, keepdim=True)
        return total, total * self.poison


def test_outputs_are_pytorchs_in_float32():
    pixels = np.full((3, 8, 8, 3), 2, np.uint8)
    logits, embedding = run_original(Sum(poison=0.5), pixels)
    assert (logits.dtype, embedding.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(logits, [[384.0]] * 3)
    np.testing.assert_array_equal(embedding, [[192.0]] * 3)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_original_that_is_not_finite_is_refused(poison):
    pixels = np.full((1, 8, 8, 3), 2, np.uint8)
    with pytest.raises(CheckpointError, match="the PyTorch original gives NaN or infinity"):
        golden_outputs(Sum(poison), pixels, pixels)
