import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from runtime.bundle.bundle import open_bundle
from runtime.bundle.layout import MANIFEST_FILE, make_results_folder
from runtime.errors import BundleError
from runtime.support.files import MOST_BYTES, atomic_file, read_plain
from tests.helpers.bundles import write_hand_made


def _names(folder):
    return sorted(entry.name for entry in folder.iterdir())


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


@pytest.mark.timeout(60)
def test_a_pipe_and_a_device_are_refused_before_a_byte_of_them_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(OSError, match="a pipe, a socket or a device, expected a plain file"):
            read_plain(tmp_path / name)


def test_a_file_of_absurd_size_is_refused_and_not_held_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as opened:
        opened.truncate(MOST_BYTES + 1)
    with pytest.raises(OSError, match="it is larger than 256 MB"):
        read_plain(file)
    file.write_bytes(b"{}")
    assert read_plain(file) == b"{}"


def test_a_manifest_that_is_a_pipe_is_one_line(tmp_path: Path) -> None:
    bundle = write_hand_made(tmp_path / "bundle")
    (bundle / MANIFEST_FILE).unlink()
    os.mkfifo(bundle / MANIFEST_FILE)
    with pytest.raises(BundleError, match=r"has no readable bundle.json \(it is a pipe, a socket or a device"):
        open_bundle(bundle)


def test_results_are_not_written_through_a_link_out_of_the_bundle(tmp_path: Path) -> None:
    bundle = write_hand_made(tmp_path / "bundle")
    (tmp_path / "elsewhere").mkdir()
    (bundle / "results").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="results leads out of the bundle: expected a plain folder"):
        make_results_folder(bundle)
    assert list((tmp_path / "elsewhere").iterdir()) == []
