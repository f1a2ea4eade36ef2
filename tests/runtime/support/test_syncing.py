"""What is synced, and in which order: by the calls that reach the operating system."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.support.files import atomic_file
from runtime.support.partial import partial_folder, replace_folder
from runtime.support.syncing import sync_names, sync_tree


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Syncs and renames as they happen, by the last part of the path; of what is half made, by its ending."""
    found: list[str] = []
    fsync = os.fsync

    def short(path: object) -> str:
        name = Path(str(path)).name
        return name if not name.startswith(".") else name.rpartition(".")[2]

    def synced(handle: int) -> None:
        found.append(f"sync {short(Path(f'/proc/self/fd/{handle}').readlink())}")
        fsync(handle)

    def named(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def moved(one: Path, two: Path) -> Path:
            found.append(f"rename {short(two)}")
            return move(one, two)

        return moved

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named(Path.replace))
    monkeypatch.setattr(Path, "rename", named(Path.rename))
    return found


def test_a_file_is_synced_before_its_name_and_its_folder_after(tmp_path: Path, calls: list[str]) -> None:
    with atomic_file(tmp_path / "file") as file:
        file.write(b"1")
    assert calls == ["sync partial", "rename file", f"sync {tmp_path.name}"]


def test_a_folder_is_synced_with_all_that_is_in_it_before_its_name(tmp_path: Path, calls: list[str]) -> None:
    for _ in range(2):
        with partial_folder(tmp_path / "bundle") as partial:
            (partial / "inner").mkdir()
            (partial / "inner" / "file").write_bytes(b"1")
            replace_folder(partial, tmp_path / "bundle")
    whole, above = ["sync file", "sync inner", "sync partial"], f"sync {tmp_path.name}"
    # The second time the old one steps aside, and the place aside is safe before.
    aside = [above, "rename bundle", "sync old", "rename bundle", above]
    assert calls == [*whole, "rename bundle", above, *whole, *aside]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_folders_is_taken_as_it_is(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(number, "not here")

    monkeypatch.setattr(os, "fsync", refuse)
    sync_names(tmp_path)
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(OSError, match="not here"):
        sync_tree(tmp_path)
