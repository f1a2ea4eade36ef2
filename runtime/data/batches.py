"""Batches of pixels, decoded ahead in threads, in turn with inference or beside it.

1. Batch k holds the images at positions k * batch_size and on, in order: batches depend on the data set
   alone, not on the number of workers. An unreadable image, where it may be skipped, leaves a gap. Those of a piece
   are those of its data set where it begins with a batch. Where it may not, no further batch is given, but the rest is
   decoded, so that one error names all that cannot be read.
2. How far ahead, and what "in turn" means, are the rules of `runtime/support/read_ahead.py`. The asking thread takes
   images from the data set, workers decode and preprocess them.

Workers are threads, since Pillow releases the GIL in decoding and resizing. They do not run beside CPU
engines, which split a layer over all cores and wait for the slowest one, so that a decoder on one core
stalls the others: beside each other they reach 0.85 of what in turn does. The measurements, and why a
lower priority is no way out: docs/explanation/decisions.md.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from typing_extensions import Self

from runtime.bundle.manifest import Preprocessing
from runtime.data.dataset import Dataset, LabelledImage, Stream
from runtime.data.pieces import Piece
from runtime.errors import DataError, UsageError
from runtime.images.losses import Losses
from runtime.images.preprocessing import preprocess
from runtime.images.reading import naming_machines_faults, pillow_silenced
from runtime.support.arrays import Pixels
from runtime.support.cpu import usable_cores
from runtime.support.read_ahead import Ahead, read_ahead
from runtime.support.words import first_few

# Enough to mend a data set at once; `--skip-unreadable` lists any number.
_NAMES_SHOWN = 10


@dataclass(frozen=True)
class Batch:
    """Some images, in the data set's order.

    Attributes:
        pixels: (N, H, W, C) uint8, N >= 1.
        labels: Class indices, (N,) int64.
        indices: Positions in the data set, (N,) int64.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Unreadable:
    """An image that was left out, why, and its position in the data set."""

    name: str
    reason: str
    position: int = 0


class Loader:
    """An iterator over the batches of a data set, once through; also a context manager.

    Attributes:
        unreadable: The images left out so far.
    """

    def __init__(self, plan: "_Plan") -> None:
        self.unreadable: list[Unreadable] = []
        self._lost: list[Losses] = [Losses()]
        self._batches = _run(plan, self.unreadable, self._lost)

    @property
    def lost(self) -> Losses:
        """What the images lost so far on their way to the network."""
        return self._lost[0]

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def close(self) -> None:
        """End the worker threads. Calling it twice is fine."""
        self._batches.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Plan:
    """The arguments of `load_batches`."""

    dataset: Dataset | Stream | Piece
    preprocessing: Preprocessing
    transform: Callable[[Image.Image], Pixels]
    skip_unreadable: bool
    ahead: Ahead

    def decode(self, numbered: tuple[int, LabelledImage]) -> "_Decoded":
        """Return one image's pixels, or the error, which the asking thread raises or counts.

        Raises:
            MachineError: The machine, not the image, is the reason: nothing is skipped for that.
        """
        position, image = numbered
        lost = Losses()
        try:
            with naming_machines_faults(image.name):
                picture, lost = image.read(self.preprocessing)
                pixels: Pixels | DataError = self.transform(picture)
        except DataError as error:
            pixels = error
        return _Decoded(position, image.name, image.label, pixels, lost)


class _Decoded(NamedTuple):
    """A position in the data set, and its pixels; not the image, which may hold a picture."""

    position: int
    name: str
    label: int
    pixels: Pixels | DataError
    lost: Losses


def load_batches(
    dataset: Dataset | Stream | Piece,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int | None = None,
    skip_unreadable: bool = False,
    prefetch: int = 3,
    overlap: bool = False,
    transform: Callable[[Image.Image], Pixels] | None = None,
) -> Loader:
    """Return the batches of a data set, decoded ahead.

    Args:
        dataset: The images; positions and messages of a piece are those of its data set.
        preprocessing: The bundle's contract.
        batch_size: Images per batch; the last one, and one with unreadable images, may be smaller.
        workers: Decoding threads; None for the number of usable cores.
        skip_unreadable: Leave unreadable images out and list them; otherwise they are an error.
        prefetch: Batches decoded ahead of the one that is next.
        overlap: Decode while batches are used, which is right only where that leaves the cores free.
        transform: Function from a picture to its pixels, called in the worker threads; None for `preprocess`.

    Raises:
        UsageError: A number is less than 1.
        DataError: (From the iterator.) An image cannot be read, or none can but in a piece, or a stream breaks off.
        MachineError: (From the iterator.) An image cannot be read now, and the machine is the reason.
    """
    threads = usable_cores() if workers is None else workers
    for option, value in (("batch size", batch_size), ("workers", threads), ("prefetch", prefetch)):
        if value < 1:
            raise UsageError(f"{option} {value}: expected at least 1")
    chosen = transform or functools.partial(preprocess, preprocessing=preprocessing)
    return Loader(_Plan(dataset, preprocessing, chosen, skip_unreadable, Ahead(batch_size, threads, prefetch, overlap)))


def _run(plan: _Plan, unreadable: list[Unreadable], lost: list[Losses]) -> Generator[Batch, None, None]:
    """Yield the batches; the threads live as long as the iteration."""
    taken = 0
    whole = not isinstance(plan.dataset, Piece)
    start = plan.dataset.start if isinstance(plan.dataset, Piece) else 0
    decoded = read_ahead(enumerate(plan.dataset, start), plan.decode, plan.ahead)
    with pillow_silenced(), closing(decoded):
        for here in decoded:
            taken += len(here)
            lost[0] = sum((image.lost for image in here), lost[0])
            batch = _gather(here, unreadable)
            if unreadable and not plan.skip_unreadable:
                # A stream may break off; the images before that are what is to be mended first.
                with suppress(DataError):
                    for rest in decoded:
                        _gather(rest, unreadable)
                raise unreadable_error(unreadable, known=plan.dataset.length)
            if batch is not None:
                yield batch
    if whole:
        check_some_readable(taken, unreadable)


def check_some_readable(images: int, unreadable: Sequence[Unreadable]) -> None:
    """Refuse a data set of which every image was left out.

    Raises:
        DataError: Nothing is left.
    """
    if len(unreadable) == images > 0:
        raise DataError(f"none of the {images} images can be read; the first: {unreadable[0].reason}")


def unreadable_error(unreadable: Sequence[Unreadable], *, known: int | None) -> DataError:
    """Return the error that names all images that cannot be read.

    Args:
        unreadable: The images, at least one, in the data set's order.
        known: How many images the data set has; None for a stream that does not say so.
    """
    first = unreadable[0]
    if len(unreadable) == 1:
        of = "images of the stream" if known is None else f"of {known} images"
        return DataError(f"{first.reason} ({first.position} {of} were read)")
    whole = "the stream" if known is None else str(known)
    names = first_few([image.name for image in unreadable], shown=_NAMES_SHOWN)
    return DataError(f"{len(unreadable)} images of {whole} cannot be read ({names}); the first: {first.reason}")


def _gather(here: list[_Decoded], unreadable: list[Unreadable]) -> Batch | None:
    """Return one batch, or None where not one of its images can be read; add the others to `unreadable`."""
    kept: list[tuple[_Decoded, Pixels]] = []
    for image in here:
        if not isinstance(image.pixels, DataError):
            kept.append((image, image.pixels))
        else:
            unreadable.append(Unreadable(image.name, str(image.pixels), image.position))
    if not kept:
        return None
    indices = np.array([image.position for image, _ in kept], np.int64)
    labels = np.array([image.label for image, _ in kept], np.int64)
    return Batch(np.stack([pixels for _, pixels in kept]), labels, indices)
