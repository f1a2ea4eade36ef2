"""Images in files of their own: folders, lists of paths, or named one by one.

1. A folder is read as `runtime/images/listing.py` says; which files are images, `runtime/images/formats.py`.
2. The key of an image in a folder is its path below that folder; where several were given, with what was given
   before it. The key of an image from a list is its line, of a file named on the command line its path there.
3. A list is read as `runtime/data/sources/list_rows.py` says. Relative paths start at its folder, or at `root`.
4. A file that vanishes or cannot be opened is one unreadable image. A folder that cannot be listed is an error:
   nobody could say what is missing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime.data.sources.entries import Entry
from runtime.data.sources.list_rows import ListLayout, read_rows
from runtime.images.formats import PassedOver
from runtime.images.listing import walk_images
from runtime.support.files import read_plain
from runtime.support.words import printable


class _FilesOfTheirOwn:
    """How entries are read whose file holds nothing else."""

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield each entry with what reads its file; see `Source.opened`."""
        for entry in entries:
            yield entry, partial(read_plain, Path(entry.file), most_bytes=None)


@dataclass(frozen=True)
class FolderSource(_FilesOfTheirOwn):
    """All images below a folder.

    Attributes:
        folder: The folder.
        prefix: What keys start with; empty for one folder alone.
    """

    folder: str
    prefix: str = ""

    @property
    def what(self) -> str:
        """The folder."""
        return self.folder

    @property
    def root(self) -> str:
        """The folder."""
        return self.folder

    def entries(self, passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the folder's images; see `Source.entries`."""
        for below in walk_images(Path(self.folder), passed_over):
            yield Entry(printable(self.prefix + below), f"{self.folder}/{below}")


@dataclass(frozen=True)
class ListSource(_FilesOfTheirOwn):
    """Images whose paths a file lists; rule 3."""

    file: Path
    start: Path
    layout: ListLayout

    @property
    def what(self) -> str:
        """The list."""
        return str(self.file)

    @property
    def root(self) -> str:
        """The folder that relative paths start at."""
        return str(self.start)

    def entries(self, _passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the images listed; see `Source.entries`."""
        for row in read_rows(self.file, self.layout):
            yield Entry(printable(row.path), str(self.start / row.path))


@dataclass(frozen=True)
class NamedFiles(_FilesOfTheirOwn):
    """Image files that were named one by one."""

    files: tuple[str, ...]

    @property
    def what(self) -> str:
        """How many."""
        return f"{len(self.files)} files"

    @property
    def root(self) -> str:
        """The first one's folder."""
        return str(Path(self.files[0]).parent)

    def entries(self, _passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the files; see `Source.entries`."""
        yield from (Entry(printable(file), file) for file in self.files)


@dataclass(frozen=True)
class JoinedFiles(_FilesOfTheirOwn):
    """Several of these, one after the other."""

    parts: tuple["FolderSource | ListSource | NamedFiles", ...]

    @property
    def what(self) -> str:
        """All of them."""
        return ", ".join(part.what for part in self.parts)

    @property
    def root(self) -> str:
        """The first one's."""
        return self.parts[0].root

    def entries(self, passed_over: PassedOver | None = None) -> Iterator[Entry]:
        """Yield the images of each; see `Source.entries`."""
        for part in self.parts:
            yield from part.entries(passed_over)
