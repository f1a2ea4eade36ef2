"""Calibration images come from every kind of source that the commands read."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from calibration.images.lint import hash_images, lint_sample
from calibration.images.sampling import sample_images, split_held_out
from tests.helpers.image_folders import picture, write_picture
from tests.helpers.image_sources import encoded, written


@pytest.mark.parametrize("kind", ["list", "parquet", "tar"])
def test_lists_tables_and_shards_are_drawn_from_hashed_and_read_like_folders(kind: str, tmp_path: Path) -> None:
    source = written(tmp_path, kind, 40)
    sample = sample_images(source, count=12, seed=3)
    assert (len(sample.dataset), sample.available, sample.classes) == (12, 40, ())
    assert sample_images(source, count=12, seed=3).dataset.images == sample.dataset.images
    assert sample_images(source, count=12, seed=4).dataset.images != sample.dataset.images
    by_hash = {hashlib.sha256(encoded(seed)).hexdigest(): seed for seed in range(40)}
    drawn = [by_hash[digest] for digest in hash_images(sample.dataset).values()]
    assert drawn == sorted(set(drawn))
    for image, seed in zip(sample.dataset, drawn, strict=True):
        np.testing.assert_array_equal(np.asarray(image.read().picture), picture(seed))
    measured, held_out = split_held_out(sample)
    assert (len(measured), len(held_out)) == (9, 3)
    assert len({*[image.name for image in measured.images], *[image.name for image in held_out.images]}) == 12
    assert len([image.read() for image in held_out]) == 3


@pytest.mark.parametrize("evaluated", ["list", "parquet", "tar", "folder"])
def test_images_that_are_evaluated_too_are_found_in_any_kind_of_source(evaluated: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sample = sample_images(written(tmp_path / "a", "parquet", 9), count=9)
    if evaluated == "folder":
        other = write_picture(tmp_path / "b" / "x" / "renamed.png", 4).parents[1]
    else:
        other = written(tmp_path / "b", evaluated, 1)
    findings = lint_sample(sample, hash_images(sample.dataset), eval_data=other)
    assert [one.text for one in findings if f"1 of 9 calibration images are also in {other}" in one.text]


def test_an_image_of_a_table_that_is_missing_is_left_out_of_the_hashes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [encoded(0), None, encoded(1)]}), tmp_path / "t.parquet")
    dataset = sample_images(tmp_path / "t.parquet", count=3).dataset
    assert list(hash_images(dataset)) == ["t.parquet:0", "t.parquet:2"]
