import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from runtime.errors import BundleError
from runtime.support.files import atomic_directory, atomic_file
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


def test_file_appears_whole_when_the_block_succeeds_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "cache"
    target.write_bytes(b"old")
    with atomic_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert _names(tmp_path) == ["cache"]


def test_a_file_is_readable_by_others(tmp_path):
    with atomic_file(tmp_path / "cache") as file:
        file.write(b"1")
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o644


def _write_file_and_fail(target, error):
    with atomic_file(target) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError(), OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("before", [None, b"old"])
def test_interrupted_file_leaves_what_was_there(tmp_path, error, before):
    if before is not None:
        (tmp_path / "cache").write_bytes(before)
    with pytest.raises((KeyboardInterrupt, RuntimeError, BundleError)):
        _write_file_and_fail(tmp_path / "cache", error)
    assert _names(tmp_path) == ([] if before is None else ["cache"])
    assert before is None or (tmp_path / "cache").read_bytes() == before


def _write_beyond_the_limit(target, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with atomic_file(target) as file:
            # Less than a buffer: nothing is written before the file closes.
            file.write(b"x" * 2 * limit)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_refuses_only_when_the_file_closes_leaves_nothing(tmp_path):
    with pytest.raises(BundleError, match=r"cannot write .*cache"):
        _write_beyond_the_limit(tmp_path / "cache", 1000)
    assert _names(tmp_path) == []


def test_a_file_does_not_replace_a_directory(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(BundleError, match=r"cannot write .*photos"), atomic_file(tmp_path / "photos") as file:
        file.write(b"1")
    assert _names(tmp_path) == ["photos"]


def test_a_file_in_a_missing_folder_is_an_error_in_words(tmp_path):
    with (
        pytest.raises(BundleError, match=r"cannot write .*cache: No such file"),
        atomic_file(tmp_path / "no" / "cache"),
    ):
        pass
