import errno
import os
from pathlib import Path

import pytest

from runtime.bundle.directory import atomic_directory
from runtime.errors import BundleError
from tests.helpers.bundles import write_hand_made


def _names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_directory_appears_whole_when_the_block_succeeds(tmp_path):
    with atomic_directory(tmp_path / "out", overwrite=False) as staging:
        (staging / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert _names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "1"


def _write_and_fail(target, error):
    with atomic_directory(target, overwrite=False) as staging:
        (staging / "a").write_text("1")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError(), OSError(errno.ENOSPC, "full")])
def test_interrupted_block_leaves_nothing(tmp_path, error):
    with pytest.raises((KeyboardInterrupt, RuntimeError, BundleError)):
        _write_and_fail(tmp_path / "out", error)
    assert _names(tmp_path) == []


def test_full_disk_is_said_in_words(tmp_path):
    with pytest.raises(BundleError, match="the disk is full"), atomic_directory(tmp_path / "out", overwrite=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write_to_full_device(target):
    with atomic_directory(target, overwrite=False), Path("/dev/full").open("wb") as full:
        full.write(b"x" * 100_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_really_full_device_is_said_in_words_and_leaves_nothing(tmp_path):
    with pytest.raises(BundleError, match="the disk is full"):
        _write_to_full_device(tmp_path / "out")
    assert _names(tmp_path) == []


def test_existing_bundle_is_kept_without_overwrite(tmp_path):
    bundle = write_hand_made(tmp_path / "out")
    before = (bundle / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="exists: pass --overwrite"), atomic_directory(bundle, overwrite=False):
        pass
    assert (bundle / "bundle.json").read_bytes() == before


def test_existing_bundle_survives_a_failed_overwrite(tmp_path):
    bundle = write_hand_made(tmp_path / "out")
    before = (bundle / "bundle.json").read_bytes()
    with pytest.raises(RuntimeError), atomic_directory(bundle, overwrite=True):
        raise RuntimeError
    assert (bundle / "bundle.json").read_bytes() == before
    assert _names(tmp_path) == ["out"]


def test_overwrite_replaces_the_whole_bundle(tmp_path):
    bundle = write_hand_made(tmp_path / "out")
    with atomic_directory(bundle, overwrite=True) as staging:
        (staging / "new").write_text("2")
    assert _names(bundle) == ["new"]
    assert _names(tmp_path) == ["out"]


def test_overwrite_does_not_touch_a_folder_that_is_no_bundle(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"), atomic_directory(photos, overwrite=True):
        pass
    assert _names(photos) == ["holiday.jpg"]


def test_missing_parent_is_named(tmp_path):
    with (
        pytest.raises(BundleError, match="absent is not a directory"),
        atomic_directory(tmp_path / "absent" / "out", overwrite=False),
    ):
        pass
