"""The images of a job, one after the other: what each is called and where its bytes are.

1. A source lists its entries from the first one each time it is asked, in an order that depends on names alone.
   It holds no more of them than one folder or one file's index at a time, so they may be any number.
2. An entry is small and says all that another process needs to read its bytes.
3. A key is unique within its source's kind of naming, and is what the output has: text, whatever bytes a file
   system or an archive had in it (`printable`).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from runtime.images.formats import PassedOver
from runtime.support.words import printable


class Entry(NamedTuple):
    """One image that a job reads.

    Attributes:
        key: What the output calls it.
        file: The file that holds it.
        start: Where it is there: first byte in a tar, row in a Parquet file; 0 for a file of its own.
        size: Length of the image in a tar, bytes; 0 elsewhere.
    """

    key: str
    file: str
    start: int = 0
    size: int = 0


class Source(Protocol):
    """Where a job's images are."""

    @property
    def what(self) -> str:
        """The source in words, for messages."""
        ...

    @property
    def root(self) -> str:
        """A folder or file that must be there wherever entries are read."""
        ...

    def entries(self, passed_over: PassedOver | None = None, /) -> Iterator[Entry]:
        """Yield all entries, from the first one.

        Args:
            passed_over: Counts what is there and is no image.

        Raises:
            DataError: A folder, list, archive or table cannot be read.
        """
        ...

    def opened(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Callable[[], bytes]]]:
        """Yield some entries, in the order of `entries()`, each with what reads its bytes, in any thread.

        What the reading raises for one image is among `runtime.images.reading.UNREADABLE`.

        Raises:
            DataError: What holds the images cannot be read.
        """
        ...


@dataclass(frozen=True)
class Listing:
    """What a pass over all entries says of them.

    Attributes:
        images: How many there are.
        keys_sha256: sha256 over all keys in order, each followed by a zero byte.
    """

    images: int
    keys_sha256: str


class KeyDigest:
    """Counts entries and hashes their keys as they pass by."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._images = 0

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the entries, each counted and hashed."""
        for entry in entries:
            self._images += 1
            # No key holds a zero byte: none can in a path, and elsewhere `printable` writes it out.
            self._digest.update(entry.key.encode() + b"\0")
            yield entry

    def listing(self) -> Listing:
        """Return what passed by so far."""
        return Listing(self._images, self._digest.hexdigest())


def list_entries(source: Source, passed_over: PassedOver | None = None) -> Listing:
    """Return how many entries a source has, and the hash of their keys.

    Args:
        source: The source.
        passed_over: Counts what is there and is no image.

    Raises:
        DataError: The source cannot be read.
    """
    digest = KeyDigest()
    for _ in digest.watch(source.entries(passed_over)):
        pass
    return digest.listing()


def names_in_keys(files: Sequence[Path]) -> tuple[str, ...]:
    """Return what keys call files that hold several images: their names, or where two are alike, their paths."""
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        names = [file.as_posix() for file in files]
    return tuple(printable(name) for name in names)
