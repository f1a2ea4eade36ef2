"""What a data set is: labelled images with positions, or a stream of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from runtime.bundle.manifest import Preprocessing
from runtime.data.sources.entries import Entry, Source
from runtime.data.timm_streams import TimmStream
from runtime.images.colours import to_colours
from runtime.images.losses import Losses
from runtime.images.preprocessing import preprocess
from runtime.images.reading import ReadImage, decode, naming_damage, pillow_silenced
from runtime.support.arrays import Pixels


class Picture(Protocol):
    """Something else than a file that holds one picture, read only when it is opened."""

    def open(self) -> Image.Image | BinaryIO:
        """Return the picture, or the contents of its file. Called from worker threads."""
        ...


@dataclass(frozen=True)
class LabelledImage:
    """One image and its class.

    Attributes:
        name: What messages and reports call it; unique in its data set.
        label: Class index, 0-based.
        source: The file, what opens the picture, or its place in the source of its data set.
    """

    name: str
    label: int
    source: Path | Picture | Entry

    def read(self, preprocessing: Preprocessing | None = None) -> ReadImage:
        """Return the picture, decoded, in the network's colours.

        Warning filters stay as they are; see `runtime/images/reading.py`.

        Args:
            preprocessing: The bundle's contract; None for timm's way to read.

        Raises:
            DataError: The image cannot be read.
            MachineError: The machine, not the image, is the reason.
        """
        assert not isinstance(self.source, Entry), "iterating the data set opens it"
        if isinstance(self.source, Path):
            return decode(self.source, str(self.source), preprocessing)
        with naming_damage(self.name), self.source.open() as opened:
            if isinstance(opened, Image.Image):
                opened.load()
                return ReadImage(*to_colours(opened, preprocessing))
            return decode(opened, self.name, preprocessing)


@dataclass(frozen=True)
class Dataset:
    """Labelled images in a fixed order.

    Attributes:
        images: The images.
        notes: What a person should know about how they were read; often empty.
        source: Reads the images where these are entries of it, in its order; None where they open themselves.
        classes: Names of the classes in the order of their indices, where the network has no names and the data have.
    """

    images: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()
    source: Source | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[LabelledImage]:
        return open_in_turn(self.images, self.source)

    @property
    def length(self) -> int:
        """How many images there are."""
        return len(self.images)

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> "Dataset":
        """Return a data set of files without classes: every label is 0."""
        return cls(tuple(LabelledImage(str(file), 0, file) for file in files))

    def load(self, preprocessing: Preprocessing) -> tuple[Pixels, Losses]:
        """Return the network's pixels of all images at once, (N, height, width, channels) uint8, and what they lost.

        For a handful of images: `runtime/data/batches.py` reads any number.

        Raises:
            DataError: An image cannot be read.
            MachineError: The machine, not the image, is the reason.
        """
        with pillow_silenced():
            read = [image.read(preprocessing) for image in self]
        pixels = np.stack([preprocess(one.picture, preprocessing) for one in read])
        return pixels, sum((one.lost for one in read), Losses())


@dataclass(frozen=True)
class _Bytes:
    """A picture of a source, as `Picture`."""

    contents: Callable[[], bytes]

    def open(self) -> BinaryIO:
        return BytesIO(self.contents())


def open_in_turn(images: tuple[LabelledImage, ...], source: Source | None) -> Iterator[LabelledImage]:
    """Yield images that can be read, one after the other.

    Args:
        images: Images of one data set or piece, in its order.
        source: What reads them where they are entries of it.

    Raises:
        DataError: What holds the images cannot be read.
    """
    if source is None:
        yield from images
        return
    entries = (image.source for image in images if isinstance(image.source, Entry))
    for image, (_, contents) in zip(images, source.opened(entries), strict=True):
        yield replace(image, source=_Bytes(contents))


@dataclass(frozen=True)
class Stream:
    """Labelled images that come one after the other, from the first each time that they are iterated.

    Attributes:
        samples: The images, all of them.
        limit: Largest number of images, the first ones; None for all.
        notes: What a person should know about how they were read; often empty.
    """

    samples: TimmStream
    limit: int | None = None
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[LabelledImage]:
        """Yield the images; `runtime/data/timm_streams.py` says which errors end it."""
        for sample in islice(self.samples, self.limit):
            yield LabelledImage(sample.name, sample.label, sample)

    @property
    def length(self) -> int | None:
        """How many images are expected, or None where nothing says so; the stream may end sooner."""
        known = [number for number in (self.samples.length, self.limit) if number is not None]
        return min(known, default=None)

    def __length_hint__(self) -> int:
        return NotImplemented if self.length is None else self.length
