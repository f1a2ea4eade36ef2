"""Images in files of their own: folders, lists of paths, or named one by one.

1. A folder is read as `runtime/images/listing.py` says; which files are images, `runtime/images/formats.py`.
2. The key of an image in a folder is its path below that folder; where several were given, with what was given
   before it. The key of an image from a list is its line, of a file named on the command line its path there.
3. A list is UTF-8, one path per line; blank lines are passed over. Relative paths start at the list's folder, or
   at `root`.
4. A file that vanishes or cannot be opened is one unreadable image. A folder that cannot be listed is an error:
   nobody could say what is missing.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from runtime.data.sources.entries import Entry, printable
from runtime.errors import DataError
from runtime.images.formats import PassedOver
from runtime.images.listing import walk_images

# A list whose first lines name no file at all is taken to be read from the wrong folder.
_LINES_TRIED = 20


class _FilesOfTheirOwn:
    """How entries are read whose file holds nothing else."""

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield each entry with what reads its file; see `Source.opened`."""
        for entry in entries:
            yield entry, Path(entry.file).read_bytes


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
        try:
            with self.file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
                for line in lines:
                    name = line.rstrip("\r\n")
                    if name.strip():
                        yield Entry(printable(name), str(self.start / name))
        except OSError as error:
            raise DataError(
                f"{self.file} cannot be read ({error.strerror}): expected a list with one path per line"
            ) from error

    def check_start(self) -> None:
        """Refuse a list of which no path leads to a file, before a run in which nothing can be read.

        Raises:
            DataError: None of the first paths exists, or the list cannot be read.
        """
        first = list(islice(self.entries(), _LINES_TRIED))
        if any("\0" in entry.file for entry in first):
            raise DataError(
                f"{self.file} is not a text file: expected a list of paths, one per line, or a file that ends in "
                ".tar, .parquet or the suffix of an image; unpack it first"
            )
        if first and not any(Path(entry.file).exists() for entry in first):
            raise DataError(
                f"{self.file}: none of the first {len(first)} paths exists ({first[0].file}): expected paths "
                f"relative to {self.start}; if they start elsewhere, say where with --root"
            )


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
