"""The rows of a finished output, numbered from 0 as they stand in the parts, in bounded memory."""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from runtime.embed.output.identity import Job, read_job
from runtime.embed.output.part_files import list_done
from runtime.errors import BundleError
from runtime.search.parts import Piece, Row, part_pieces
from runtime.support.arrays import AnyFloats
from runtime.support.cpu import usable_cores

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Gallery:
    """A finished output.

    Attributes:
        output: The output's directory.
        job: What it is of.
        starts: Number of each part's first row, and behind them the number of all rows.
    """

    output: Path
    job: Job
    starts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.starts[-1]

    def blocks(self) -> Iterator[tuple[int, AnyFloats]]:
        """Yield all embeddings in order: the number of the first row of a block, and the block, (N, D).

        Blocks are decoded ahead, one for each core and one that waits: memory holds no more.

        Raises:
            BundleError: A part cannot be read.
        """
        yield from self.mapped(lambda block: block)

    def mapped(self, work: Callable[[AnyFloats], _Made]) -> Iterator[tuple[int, _Made]]:
        """Yield what `blocks` does, with what `work` makes of each block in the thread that decoded it.

        Raises:
            BundleError: A part cannot be read.
        """
        yield from map_blocks(self._pieces(), work)

    def embeddings(self, rows: Sequence[int]) -> AnyFloats:
        """Return the embeddings of some rows, (N, D), in the order given.

        Raises:
            BundleError: A part cannot be read.
        """
        holding = list(self._holding(rows))
        found: dict[int, AnyFloats] = {}
        with ThreadPoolExecutor(usable_cores()) as pool:
            some = pool.map(lambda held: held[0].some_embeddings([place for _, place in held[1]]), holding)
            for (_, wanted), block in zip(holding, some, strict=True):
                found.update(zip((row for row, _ in wanted), block, strict=True))
        return np.stack([found[row] for row in rows])

    def described(self, rows: Sequence[int]) -> list[Row]:
        """Return what is written of some rows beside their embeddings, in the order given.

        Raises:
            BundleError: A part cannot be read.
        """
        found: dict[int, Row] = {}
        for piece, wanted in self._holding(rows):
            described = piece.rows()
            found.update({row: described[place] for row, place in wanted})
        return [found[row] for row in rows]

    def _pieces(self) -> Iterator[tuple[int, Piece]]:
        """Yield all pieces, each with the number of its first row."""
        for number, first in enumerate(self.starts[:-1]):
            for piece in self._part(number):
                yield first, piece
                first += piece.size

    def _part(self, number: int) -> Iterator[Piece]:
        return part_pieces(self.output, self.job, number, self.starts[number + 1] - self.starts[number])

    def _holding(self, rows: Sequence[int]) -> Iterator[tuple[Piece, list[tuple[int, int]]]]:
        """Yield the pieces that hold some rows, with these rows and their places in the piece."""
        by_part: defaultdict[int, list[int]] = defaultdict(list)
        for row in sorted(set(rows)):
            by_part[bisect_right(self.starts, row) - 1].append(row)
        for number, wanted in by_part.items():
            first = self.starts[number]
            for piece in self._part(number):
                here = [(row, row - first) for row in wanted if first <= row < first + piece.size]
                if here:
                    yield piece, here
                first += piece.size


class HasEmbeddings(Protocol):
    """Some rows that follow one another."""

    def embeddings(self) -> AnyFloats:
        """Return their embeddings, (N, D)."""
        ...


def map_blocks(
    pieces: Iterable[tuple[int, HasEmbeddings]], work: Callable[[AnyFloats], _Made]
) -> Iterator[tuple[int, _Made]]:
    """Yield in order the number of each piece's first row, and what `work` makes of its embeddings.

    Pieces are read ahead by threads, one for each core and one that waits: memory holds no more.
    """
    waiting: deque[tuple[int, Future[_Made]]] = deque()
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        for first, piece in pieces:
            waiting.append((first, pool.submit(_read_and, work, piece)))
            if len(waiting) > cores + 1:
                start, made = waiting.popleft()
                yield start, made.result()
        while waiting:
            start, made = waiting.popleft()
            yield start, made.result()


def _read_and(work: Callable[[AnyFloats], _Made], piece: HasEmbeddings) -> _Made:
    return work(piece.embeddings())


def open_gallery(output: Path) -> Gallery:
    """Return a finished output's rows.

    Raises:
        BundleError: The directory is no job's output, the job is not finished or without a row, or a part is damaged.
    """
    job = read_job(output)
    if job is None:
        raise BundleError(f"{output} is not the output of an embedding job: expected what `run-ssl embed -o` wrote")
    counts = [record.rows for record in list_done(output, job.parts)]
    if len(counts) < job.parts:
        raise BundleError(
            f"{output} has {len(counts)} of {job.parts} parts: run its `run-ssl embed` command again to finish it"
        )
    if not any(counts):
        raise BundleError(f"{output} has no row to search among: none of its images could be read")
    return Gallery(output, job, tuple(accumulate(counts, initial=0)))
