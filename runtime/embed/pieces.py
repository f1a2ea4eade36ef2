"""A job's images in pieces, each of which becomes one part of the output."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from runtime.data.sources.entries import Entry


@dataclass(frozen=True)
class Piece:
    """The images of one part.

    Attributes:
        number: Number of the piece, and of its part.
        entries: Entries of the piece, in order.
    """

    number: int
    entries: tuple[Entry, ...]


def cut_pieces(entries: Iterable[Entry], images: int, *, first: int = 0) -> Iterator[Piece]:
    """Yield the pieces that entries make, `images` to each but the last, numbered from `first` on."""
    rest = iter(entries)
    number = first
    while here := tuple(islice(rest, images)):
        yield Piece(number, here)
        number += 1
