"""A data set cut into stretches that other processes, in other folders, work on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.data.dataset import Dataset, LabelledImage, open_in_turn
from runtime.data.sources.entries import Entry, Source


@dataclass(frozen=True)
class Piece:
    """A stretch of a data set.

    Attributes:
        number: 0 for the first one.
        start: Position of its first image in the data set.
        images: Images of the piece, whose files have absolute paths.
        length: How many images the data set has, which is what messages count.
        source: Source of the data set; None where the images open themselves.
    """

    number: int
    start: int
    images: tuple[LabelledImage, ...]
    length: int
    source: Source | None = None

    def __iter__(self) -> Iterator[LabelledImage]:
        return open_in_turn(self.images, self.source)


def cut_dataset(dataset: Dataset, images: int) -> Iterator[Piece]:
    """Yield a data set in pieces of a given number of images, the last one with what is left."""
    for number, start in enumerate(range(0, len(dataset), images)):
        here = tuple(_found_anywhere(image) for image in dataset.images[start : start + images])
        yield Piece(number, start, here, len(dataset), dataset.source)


def _found_anywhere(image: LabelledImage) -> LabelledImage:
    if isinstance(image.source, Path):
        return replace(image, source=image.source.absolute())
    if isinstance(image.source, Entry):
        return replace(image, source=image.source._replace(file=str(Path(image.source.file).absolute())))
    return image
