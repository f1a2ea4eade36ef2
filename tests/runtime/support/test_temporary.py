"""Temporary folders: gone afterwards, at whatever moment a signal comes."""

import gc
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from runtime.support.temporary import temporary_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def without_collections() -> Iterator[None]:
    """No garbage is collected: packages' callbacks, Hypothesis's among them, run then and would take the signal."""
    gc.disable()
    yield
    gc.enable()


def use(make: Callable[[], AbstractContextManager[object]]) -> None:
    with make() as folder:
        Path(str(folder), "file").write_text("half")


def interrupted(make: Callable[[], AbstractContextManager[object]], moment: int) -> bool:
    """Use a folder, and raise what a signal raises before the instruction of this number; whether there is one."""
    seen = 0

    def look(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal seen
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == moment:
                # As with a signal, the next one is not raised here.
                sys.settrace(None)
                raise KeyboardInterrupt
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        use(make)
    except (KeyboardInterrupt, OSError):
        # In `shutil.rmtree` of Python 3.11 it becomes an OSError where a descriptor was just closed.
        pass
    finally:
        sys.settrace(before)
    return seen >= moment


def left_at(make: Callable[[], AbstractContextManager[object]], place: Path) -> list[int]:
    """Return the moments of a signal that leave something."""
    # What is made once holds a lock meanwhile.
    use(make)
    moments, moment = [], 1
    while interrupted(make, moment):
        if left := list(place.iterdir()):
            moments.append(moment)
            for one in left:
                for file in one.iterdir():
                    file.unlink()
                one.rmdir()
        moment += 1
    assert moment > 100
    return moments


def test_a_temporary_folder_is_for_its_owner_alone_and_gone_afterwards(place: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == place
        assert folder.name.startswith("export-ssl-")
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "below").mkdir()
        (folder / "below" / "file").write_text("half")
    assert list(place.iterdir()) == []


# What is open when the signal comes is closed with the object.
@pytest.mark.usefixtures("without_collections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_moment_of_a_signal_leaves_a_temporary_folder(place: Path) -> None:
    assert left_at(temporary_folder, place) == []


@pytest.mark.usefixtures("without_collections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pythons_own_temporary_folder_is_left_at_some_moments(place: Path) -> None:
    # What `temporary_folder` is there for; when Python leaves nothing any more, it can go.
    assert left_at(tempfile.TemporaryDirectory, place) != []
