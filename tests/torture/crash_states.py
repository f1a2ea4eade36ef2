"""What a loss of power can leave of a folder, worked out from a record of what a process did in it.

The record is made by `record_calls.c`. The model is the weakest that POSIX promises:

1. Contents of a file are on the disk when the file was synced after they were written; before that, any first part.
2. A name in a folder (made, renamed, removed) is on the disk when that folder was synced afterwards; before that, the
   changes to one folder may be there up to any of them, in their order, those to different folders independently.
3. Rename is one change: the new name leads to the old file or to the new one.

Source: ALICE (T. S. Pillai et al., OSDI 2014), whose abstract states these are; without its reordering inside a folder,
which no journalling file system does.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Of states at one moment beside the four that are always looked at.
_RANDOM_STATES = 3


@dataclass(frozen=True)
class Data:
    """Bytes written to a file; `contents` None: cut or filled to `at` bytes."""

    inode: int
    at: int
    contents: bytes | None


@dataclass(frozen=True)
class Name:
    """A name in a folder that leads to an inode from now on, or to None; `gone` is the old name of a rename."""

    folder: int
    name: str
    inode: int | None
    gone: tuple[int, str] | None = None


@dataclass(frozen=True)
class Sync:
    """A file or folder is on the disk as far as it was written."""

    inode: int


Step = Data | Name | Sync


@dataclass
class Record:
    """What was there, and what a process did to it, by inode. The root is inode 0.

    Attributes:
        folders: Which inodes are folders.
        first: Names by folder before the first step.
        contents: Contents of the files before the first step.
        steps: What was done, in order.
    """

    folders: set[int] = field(default_factory=lambda: {0})
    first: dict[int, dict[str, int]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


class _Reader:
    """Follows names through a record, so that each step is of an inode."""

    def __init__(self, root: Path, before: Path) -> None:
        self.record = Record()
        self._root, self._open, self._count = str(root), dict[int, int](), 0
        self._names: dict[int, dict[str, int]] = {0: {}}
        self._take(before, 0)
        self.record.first = {inode: dict(names) for inode, names in self._names.items()}

    def _take(self, folder: Path, inode: int) -> None:
        for path in sorted(folder.iterdir()):
            new = self._new(folder=path.is_dir())
            self._names[inode][path.name] = new
            if path.is_dir():
                self._take(path, new)
            else:
                self.record.contents[new] = path.read_bytes()

    def _new(self, *, folder: bool) -> int:
        self._count += 1
        if folder:
            self._names[self._count] = {}
            self.record.folders.add(self._count)
        return self._count

    def _find(self, path: str) -> tuple[int, str, int | None] | None:
        """Return folder, name and inode of a path; None where it is not below the root, or its folder is not known."""
        parts = os.path.relpath(path, self._root).split("/")
        if parts == ["."]:
            return (0, "", 0)
        folder = 0
        for part in parts[:-1]:
            inner = self._names.get(folder, {}).get(part)
            if inner is None:
                return None
            folder = inner
        return (folder, parts[-1], self._names.get(folder, {}).get(parts[-1]))

    def _name(self, folder: int, name: str, inode: int | None, gone: tuple[int, str] | None = None) -> None:
        for place, old in ((folder, name), gone or (folder, name)):
            self._names[place].pop(old, None)
        if inode is not None:
            self._names[folder][name] = inode
        self.record.steps.append(Name(folder, name, inode, gone))

    def take(self, what: str, a: int, b: int, one: bytes, two: str) -> None:
        """Add a call."""
        if what in ("write", "truncate", "sync", "close", "dup"):
            inode = self._open.get(a)
            if what == "close":
                self._open.pop(a, None)
            elif what == "dup" and inode is not None:
                self._open[b] = inode
            elif inode is not None:
                step: Step = Sync(inode) if what == "sync" else Data(inode, b, one if what == "write" else None)
                self.record.steps.append(step)
            return
        found = self._find(one.decode())
        if found is None:
            return
        folder, name, inode = found
        if what == "open":
            if b & os.O_TMPFILE == os.O_TMPFILE:
                return
            if inode is None and b & os.O_CREAT:
                inode = self._new(folder=False)
                self._name(folder, name, inode)
            elif inode is not None and b & os.O_TRUNC:
                self.record.steps.append(Data(inode, 0, None))
            if inode is not None:
                self._open[a] = inode
        elif what == "mkdir":
            self._name(folder, name, self._new(folder=True))
        elif what in ("unlink", "rmdir"):
            self._name(folder, name, None)
        elif inode is not None and (target := self._find(two)) is not None:
            self._name(target[0], target[1], inode, (folder, name) if what == "rename" else None)


def read_record(log: Path, root: Path, before: Path) -> Record:
    """Return what a process did.

    Args:
        log: File that `record_calls.c` wrote.
        root: Folder that it was told to watch.
        before: A copy of the folder from before.
    """
    reader, contents, at = _Reader(root, before), log.read_bytes(), 0
    while at < len(contents):
        end = contents.index(b"\n", at)
        what, *numbers = contents[at:end].decode().split()
        a, b, first, second = map(int, numbers)
        at = end + 1
        if at + first + second > len(contents):
            raise ValueError(f"{log} is cut off in a call of {what}")
        reader.take(what, a, b, contents[at : at + first], contents[at + first : at + first + second].decode())
        at += first + second
    return reader.record


@dataclass(frozen=True)
class State:
    """What stands in a folder after a loss of power.

    Attributes:
        moment: Number of steps that had been done.
        kind: What of these is on the disk, in words.
        files: Contents by relative path; None for a folder.
    """

    moment: int
    kind: str
    files: dict[str, bytes | None]

    def write(self, folder: Path) -> None:
        """Put the files into an empty folder."""
        for name, contents in self.files.items():
            if contents is None:
                (folder / name).mkdir(parents=True)
            else:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(contents)


def whole_state(record: Record) -> State:
    """Return what stands there when everything came to the disk."""
    return _build(record, len(record.steps), "all", lambda _step: True)


def least_state(record: Record) -> State:
    """Return what stands there at the end when only that came to the disk which was synced."""
    durable = _durable(record, len(record.steps))
    return _build(record, len(record.steps), "what was synced", lambda step: step in durable)


def states(record: Record, rng: random.Random) -> Iterator[State]:
    """Yield what a loss of power can leave, each content once."""
    seen = set[int]()
    for moment in range(len(record.steps) + 1):
        # Between two writes to one file a torn write is as good.
        if 0 < moment < len(record.steps) and all(
            isinstance(one, Data) for one in record.steps[moment - 1 : moment + 1]
        ):
            continue
        for state in _states_at(record, moment, rng):
            digest = hash(tuple(sorted(state.files.items(), key=lambda item: item[0])))
            if digest not in seen:
                seen.add(digest)
                yield state


def _states_at(record: Record, moment: int, rng: random.Random) -> Iterator[State]:
    durable = _durable(record, moment)
    pending = [at for at in range(moment) if at not in durable and not isinstance(record.steps[at], Sync)]
    data = {at for at in pending if isinstance(record.steps[at], Data)}
    halves = {at for of_one in _by_place(record, pending) for at in of_one[: len(of_one) // 2]}
    yield _build(record, moment, "all", lambda _step: True)
    yield _build(record, moment, "what was synced", lambda step: step in durable)
    yield _build(record, moment, "names before contents", lambda step: step not in data)
    yield _build(record, moment, "names, and half of the contents", lambda step: step not in data or step in halves)
    for _ in range(_RANDOM_STATES if pending else 0):
        there = {at for of_one in _by_place(record, pending) for at in of_one[: rng.randint(0, len(of_one))]}
        yield _build(record, moment, "some of each", lambda step, there=there: step in durable or step in there)  # type: ignore[misc]


def _by_place(record: Record, pending: list[int]) -> list[list[int]]:
    """Return the steps by what they change, a file's contents or a folder's names."""
    found: dict[tuple[str, int], list[int]] = {}
    for at in pending:
        step = record.steps[at]
        place = (
            ("data", step.inode) if isinstance(step, Data) else ("names", step.folder if isinstance(step, Name) else 0)
        )
        found.setdefault(place, []).append(at)
    return list(found.values())


def _durable(record: Record, moment: int) -> set[int]:
    """Return the steps that were synced by then."""
    durable, waiting = set[int](), dict[tuple[type, int], list[int]]()
    for at, step in enumerate(record.steps[:moment]):
        if isinstance(step, Sync):
            for kind in (Data, Name):
                durable.update(waiting.pop((kind, step.inode), []))
        else:
            waiting.setdefault((type(step), step.inode if isinstance(step, Data) else step.folder), []).append(at)
    return durable


def _build(record: Record, moment: int, kind: str, is_there: Callable[[int], bool]) -> State:
    names = {inode: dict(entries) for inode, entries in record.first.items()}
    contents = {inode: bytearray(old) for inode, old in record.contents.items()}
    for at, step in enumerate(record.steps[:moment]):
        if isinstance(step, Sync) or not is_there(at):
            continue
        if isinstance(step, Data):
            _write(contents.setdefault(step.inode, bytearray()), step)
        else:
            if step.gone is not None:
                names.setdefault(step.gone[0], {}).pop(step.gone[1], None)
            names.setdefault(step.folder, {}).pop(step.name, None)
            if step.inode is not None:
                names.setdefault(step.folder, {})[step.name] = step.inode
    return State(moment, kind, dict(_walk(record, names, contents)))


def _write(contents: bytearray, step: Data) -> None:
    if step.contents is None:
        del contents[step.at :]
        contents.extend(bytes(step.at - len(contents)))
        return
    contents.extend(bytes(max(0, step.at - len(contents))))
    contents[step.at : step.at + len(step.contents)] = step.contents


def _walk(
    record: Record, names: dict[int, dict[str, int]], contents: dict[int, bytearray], folder: int = 0, above: str = ""
) -> Iterator[tuple[str, bytes | None]]:
    """Yield what can be reached from a folder."""
    for name, inode in names.get(folder, {}).items():
        if inode in record.folders:
            yield above + name, None
            yield from _walk(record, names, contents, inode, f"{above}{name}/")
        else:
            yield above + name, bytes(contents.get(inode, b""))
