"""The model of a disk that loses power: states worked out by hand, and a record of real calls."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tools import require_tool
from tests.torture.crash_states import Data, Name, Record, Step, Sync, least_state, read_record, states, whole_state
from tests.torture.power import build_recorder

OLD, NEW = 1, 2
# A file is written beside its name and renamed, with all that makes this safe.
WRITTEN = Name(0, ".new", NEW), Data(NEW, 0, b"ne"), Data(NEW, 2, b"w")
RENAMED = Name(0, "file", NEW, gone=(0, ".new"))


def contents(*steps: Step) -> set[bytes | None]:
    """Return what `file` can hold after a loss of power at any moment; it held `old`."""
    record = Record(first={0: {"file": OLD}}, contents={OLD: b"old"}, steps=list(steps))
    return {state.files.get("file") for state in states(record, random.Random(0))}  # noqa: S311


def test_a_synced_file_that_is_renamed_is_the_old_or_the_new_one() -> None:
    assert contents(*WRITTEN, Sync(NEW), RENAMED, Sync(0)) == {b"old", b"new"}


def test_a_file_that_is_renamed_before_it_is_synced_can_be_empty_or_half() -> None:
    assert contents(*WRITTEN, RENAMED, Sync(NEW), Sync(0)) == {b"old", b"new", b"", b"ne"}


def test_a_file_that_is_removed_before_the_new_one_takes_its_name_can_be_missing() -> None:
    assert contents(*WRITTEN, Sync(NEW), Name(0, "file", None), RENAMED, Sync(0)) == {b"old", b"new", None}


def test_a_name_is_there_for_sure_once_its_folder_is_synced() -> None:
    for steps, least in (((*WRITTEN, Sync(NEW), RENAMED), b"old"), ((*WRITTEN, Sync(NEW), RENAMED, Sync(0)), b"new")):
        record = Record(first={0: {"file": OLD}}, contents={OLD: b"old"}, steps=list(steps))
        assert least_state(record).files["file"] == least
        assert whole_state(record).files == {"file": b"new"}


def test_a_folder_that_was_not_synced_takes_what_is_in_it_along() -> None:
    record = Record(steps=[Name(0, "folder", 3), Name(3, "file", NEW), Data(NEW, 0, b"new"), Sync(NEW), Sync(3)])
    record.folders.add(3)
    assert least_state(record).files == {}
    record.steps.append(Sync(0))
    assert least_state(record).files == {"folder": None, "folder/file": b"new"}


_PROGRAM = """
import os, shutil
import numpy as np
os.mkdir("folder")
with open("folder/one", "wb") as file:
    file.write(b"12345")
    file.seek(1)
    file.write(b"ab")
    file.flush()
    os.fsync(file.fileno())
    file.truncate(4)
shutil.copyfile("folder/one", "copy")
os.replace("copy", "kept")
with open("kept", "r+b") as file:
    np.array([98, 99], np.uint8).tofile(file)
os.remove("gone")
handle = os.open("folder", os.O_RDONLY)
os.fsync(handle)
"""


def test_the_record_of_a_process_ends_in_what_it_left(tmp_path: Path) -> None:
    require_tool("cc", package="gcc libc6-dev")
    (tmp_path / "before").mkdir()
    (tmp_path / "before/gone").write_bytes(b"1")
    folder = tmp_path.resolve() / "folder"
    folder.mkdir()
    (folder / "gone").write_bytes(b"1")
    recording = {"RECORD_ROOT": str(folder), "RECORD_LOG": str(tmp_path / "log")}
    subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=folder,
        env={**os.environ, **recording, "LD_PRELOAD": str(build_recorder(tmp_path))},
        check=True,
    )
    record = read_record(tmp_path / "log", folder, tmp_path / "before")
    assert whole_state(record).files == {"folder": None, "folder/one": b"1ab4", "kept": b"bcb4"}
    # Nobody synced the outer folder: neither the new one nor the removal is sure.
    assert least_state(record).files == {"gone": b"1"}
    assert [step for step in record.steps if isinstance(step, Sync)] == [Sync(3), Sync(2)]


def test_a_record_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "log").write_bytes(b"mkdir 0 0 2 0\n/xwrite 3 0 5 0\nhal")
    with pytest.raises(ValueError, match=r"is cut off in a call of write"):
        read_record(tmp_path / "log", tmp_path, tmp_path / "before")
