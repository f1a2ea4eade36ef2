"""What a killed process leaves of a file or folder is cleared up by the next that makes it, and nothing else is."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.support.partial import partial_file, partial_folder, replace_folder

# Makes NAME in FOLDER by KIND, tells its name, and waits to be killed or told to end.
_MAKER = """
import sys
from pathlib import Path
from runtime.support import partial
kind, target = sys.argv[1], Path(sys.argv[2])
with getattr(partial, kind)(target) as made:
    if made.is_dir():
        (made / "below").mkdir()
        (made / "below" / "half").write_bytes(b"half")
    else:
        made.write_bytes(b"half")
    print(made.name, flush=True)
    sys.stdin.readline()
"""


def begin(kind: str, target: Path) -> "tuple[subprocess.Popen[str], str]":
    """Return a process that is making `target`, and the name under which it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MAKER, kind, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def make(kind: str, target: Path) -> None:
    """Make `target`, whole."""
    if kind == "partial_file":
        with partial_file(target) as partial:
            partial.write_bytes(b"whole")
            partial.replace(target)
    else:
        with partial_folder(target) as partial:
            (partial / "content").write_bytes(b"whole")
            replace_folder(partial, target)


def names(folder: Path) -> list[str]:
    """Return what a folder holds."""
    return sorted(entry.name for entry in folder.iterdir())


KINDS = pytest.mark.parametrize("kind", ["partial_file", "partial_folder"])


@KINDS
def test_what_a_killed_process_left_is_gone_when_the_same_is_made_again(tmp_path: Path, kind: str) -> None:
    process, name = begin(kind, tmp_path / "made")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert names(tmp_path) == [name]
    make(kind, tmp_path / "made")
    assert names(tmp_path) == ["made"]


@KINDS
def test_what_another_process_is_making_now_is_left_alone(tmp_path: Path, kind: str) -> None:
    process, name = begin(kind, tmp_path / "made")
    make(kind, tmp_path / "made")
    assert names(tmp_path) == sorted([name, "made"])
    process.communicate("\n")
    assert names(tmp_path) == ["made"]


@KINDS
def test_what_was_left_of_another_name_is_left_alone(tmp_path: Path, kind: str) -> None:
    process, name = begin(kind, tmp_path / "made.plan")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    make(kind, tmp_path / "made")
    assert names(tmp_path) == sorted([name, "made"])


def test_links_are_neither_followed_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"kept")
    (tmp_path / ".made.abcdefgh.partial").symlink_to(tmp_path / "kept")
    make("partial_folder", tmp_path / "made")
    assert (tmp_path / "kept" / "file").read_bytes() == b"kept"


# Killed between the two renames: the old one has stepped aside, the new one is not yet there.
_KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
from runtime.support import partial
target = Path(sys.argv[1])
rename = Path.rename
def once(self, to):
    if Path(to) == target:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, to)
with partial.partial_folder(target) as made:
    Path.rename = once
    partial.replace_folder(made, target)
"""


def test_an_old_folder_comes_back_after_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    target = tmp_path / "made"
    make("partial_folder", target)
    done = subprocess.run([sys.executable, "-c", _KILLED_BETWEEN, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    # Whoever makes it next finds the old one, even if it then makes nothing.
    with partial_folder(target):
        assert (target / "content").read_bytes() == b"whole"
    assert names(tmp_path) == ["made"]


def test_an_old_folder_is_removed_where_a_new_one_has_taken_its_place(tmp_path: Path) -> None:
    target = tmp_path / "made"
    make("partial_folder", target)
    aside = tmp_path / ".made.abcdefgh.old"
    (aside / "made").mkdir(parents=True)
    make("partial_folder", target)
    assert names(tmp_path) == ["made"]


def test_a_folder_that_cannot_be_replaced_keeps_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "made"
    make("partial_folder", target)
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "absent", target)
    assert (target / "content").read_bytes() == b"whole"
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
def test_an_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    target, whole, rename = tmp_path / "made", tmp_path / "whole", Path.rename
    make("partial_folder", target)
    whole.mkdir()

    def refuse(source: Path, goal: Path) -> Path:
        if source == whole:
            raise error
        return rename(source, goal)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(type(error)):
        replace_folder(whole, target)
    assert (target / "content").read_bytes() == b"whole"
    assert names(tmp_path) == ["made", "whole"]


def test_an_old_folder_that_cannot_come_back_now_comes_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, whole, rename = tmp_path / "made", tmp_path / "whole", Path.rename
    make("partial_folder", target)
    whole.mkdir()

    def refuse(source: Path, goal: Path) -> Path:
        if Path(goal) == target:
            raise OSError(28, "full")
        return rename(source, goal)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="full"):
        replace_folder(whole, target)
    monkeypatch.setattr(Path, "rename", rename)
    with partial_folder(target):
        assert (target / "content").read_bytes() == b"whole"


@KINDS
def test_no_descriptor_stays_open(tmp_path: Path, kind: str) -> None:
    before = len(names(Path("/proc/self/fd")))
    for _ in range(3):
        make(kind, tmp_path / "made")
    assert len(names(Path("/proc/self/fd"))) == before
