"""What a data set is: labelled images with positions, or a stream of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from PIL import Image

from runtime.data.timm_streams import TimmStream
from runtime.images.reading import decode, naming_damage


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
        source: The file, or what opens the picture.
    """

    name: str
    label: int
    source: Path | Picture

    def read(self) -> Image.Image:
        """Return the picture, RGB and decoded. Warning filters stay as they are; see `runtime/images/reading.py`.

        Raises:
            DataError: The image cannot be read.
            MachineError: The machine, not the image, is the reason.
        """
        if isinstance(self.source, Path):
            return decode(self.source, str(self.source))
        with naming_damage(self.name), self.source.open() as opened:
            return opened.convert("RGB") if isinstance(opened, Image.Image) else decode(opened, self.name)


@dataclass(frozen=True)
class Dataset:
    """Labelled images in a fixed order.

    Attributes:
        images: The images.
        notes: What a person should know about how they were read; often empty.
        classes: Names of the classes in the order of their indices, where the network has no names and the data have.
    """

    images: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[LabelledImage]:
        return iter(self.images)

    @property
    def length(self) -> int:
        """How many images there are."""
        return len(self.images)


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
