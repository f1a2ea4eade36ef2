from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from calibration.images.sampling import CalibrationSample, sample_images, split_held_out
from runtime.errors import DataError, UsageError


def folder_of(root: Path, counts: dict[str, int]) -> Path:
    """Files that are listed and never opened; the class "" stands for the folder itself."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number:03}.png").write_bytes(b"")
    return root


def names(sample: CalibrationSample) -> list[str]:
    return [image.name for image in sample.dataset.images]


def per_class(sample: CalibrationSample) -> Counter[str]:
    return Counter(name.partition("/")[0] for name in names(sample))


@pytest.mark.parametrize("count", [4, 11, 30])
def test_classes_differ_by_at_most_one_image(tmp_path: Path, count: int) -> None:
    sample = sample_images(folder_of(tmp_path, {"a": 50, "b": 10, "c": 20, "d": 12}), count=count)
    found = per_class(sample)
    assert sum(found.values()) == count
    assert set(found) == {"a", "b", "c", "d"}
    assert max(found.values()) - min(found.values()) <= 1


def test_a_class_that_runs_out_leaves_its_share_to_the_others(tmp_path: Path) -> None:
    sample = sample_images(folder_of(tmp_path, {"few": 2, "many": 30, "more": 30}), count=20)
    assert per_class(sample) == {"few": 2, "many": 9, "more": 9}


def test_the_same_images_are_drawn_every_time_and_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": 20, "b": 20})
    first = names(sample_images(folder, count=10, seed=7))
    assert first == names(sample_images(folder, count=10, seed=7)) == sorted(first)
    assert len(set(first)) == 10


def test_the_draw_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    here, there = (folder_of(tmp_path / place, {"a": 20, "b": 20}) for place in ("here", "there/deeper"))
    assert names(sample_images(here, count=9)) == names(sample_images(there, count=9))


def test_another_seed_draws_other_images(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a": 40, "b": 40})
    assert names(sample_images(folder, count=20, seed=0)) != names(sample_images(folder, count=20, seed=1))


def test_where_there_are_fewer_all_are_taken_and_it_is_recorded(tmp_path: Path) -> None:
    sample = sample_images(folder_of(tmp_path, {"a": 5, "b": 1}), count=512)
    assert len(sample.dataset) == 6
    assert (sample.available, sample.requested, sample.classes) == (6, 512, ("a", "b"))


def test_a_flat_folder_is_one_pool_without_classes(tmp_path: Path) -> None:
    sample = sample_images(folder_of(tmp_path, {"": 9}), count=4)
    assert sample.classes == ()
    assert len(set(names(sample))) == 4
    assert {image.label for image in sample.dataset.images} == {0}


def test_images_below_a_class_folder_belong_to_it_at_any_depth(tmp_path: Path) -> None:
    sample = sample_images(folder_of(tmp_path, {"a/x": 9, "a/y/z": 9, "b": 9}), count=8)
    assert sample.classes == ("a", "b")
    assert per_class(sample) == {"a": 4, "b": 4}


def test_a_missing_folder_is_named_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent is not a folder: expected calibration images"):
        sample_images(tmp_path / "absent")


def test_a_folder_without_an_image_is_named_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    np.save(tmp_path / "0.npy", np.zeros((8, 8, 4), np.uint8))
    found = r"found 1 \.npy, 1 \.txt; write arrays as PNG files with Pillow's Image\.fromarray; check the path"
    with pytest.raises(DataError, match=rf"holds no image: expected files such as \.jpg or \.png, {found}"):
        sample_images(tmp_path)


def test_a_count_below_one_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--calib-images 0: expected at least"):
        sample_images(folder_of(tmp_path, {"a": 3}), count=0)


@pytest.mark.parametrize(("images", "held_out"), [(8, 2), (31, 7), (32, 4), (64, 8), (100, 12)])
def test_held_out_and_measured_images_are_disjoint_and_all_that_there_are(
    tmp_path: Path, images: int, held_out: int
) -> None:
    sample = sample_images(folder_of(tmp_path, {"a": 60, "b": 60}), count=images)
    measured, held = ({image.name for image in part.images} for part in split_held_out(sample))
    assert len(held) == held_out
    assert not measured & held
    assert measured | held == set(names(sample))


def test_the_split_is_the_same_every_time_and_balanced(tmp_path: Path) -> None:
    sample = sample_images(folder_of(tmp_path, {"a": 60, "b": 60, "c": 60}), count=96)
    held = [image.name for image in split_held_out(sample)[1].images]
    assert held == [image.name for image in split_held_out(sample)[1].images]
    assert Counter(name[0] for name in held) == {"a": 4, "b": 4, "c": 4}
