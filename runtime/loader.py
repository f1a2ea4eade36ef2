"""Batches of pixels, decoded ahead in threads that take only the time which inference leaves over.

1. Batch k holds the images at positions k * batch_size and on, in order: batches depend on the data set
   alone, not on the number of workers. An unreadable image, where it may be skipped, leaves a gap.
2. At most prefetch + 1 batches are decoded or being decoded beside the one that was handed out.
3. Where the next image has not been started yet, the thread that asks decodes it itself.
4. Leaving early, also by an exception or Ctrl-C, ends the threads after the image at hand.

Workers are threads, since Pillow releases the GIL in decoding and resizing, and their Linux niceness is
19, the lowest. Engines split a layer over all cores and wait for the slowest, so a decoder of equal
priority on one core stalls the others. Measured on 2 cores: 400 JPEGs of 500x375, resnet18 at 64 px in
PyTorch 2.14 then onnxruntime 1.32 (2 threads each, no spinning), medians of 7 rounds in turn, as a share
of 1 / (1/D + 1/I) with D = 1440 images/s for decoding alone and I = 580 for the engines alone:

    threads of equal priority        0.87
    threads of niceness 5            0.88
    threads under SCHED_IDLE         0.96
    threads of niceness 19           0.98   <- this file
    64 images, then engines, in turn 0.98   keeps a GPU waiting while it decodes
    processes of niceness 19         1.00   0.25 s and 40 MB each to start, shared memory to clean up
"""

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from runtime.dataset import Dataset, LabelledImage
from runtime.errors import DataError, UsageError
from runtime.images import pillow_silenced
from runtime.manifest import Preprocessing
from runtime.preprocessing import Pixels, preprocess

_LOWEST_PRIORITY = 19


@dataclass(frozen=True)
class Batch:
    """Some images, in the data set's order.

    Attributes:
        pixels: (N, H, W, 3) uint8, RGB, N >= 1.
        labels: Class indices, (N,) int64.
        indices: Positions in the data set, (N,) int64.
    """

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Unreadable:
    """An image that was left out, and why."""

    name: str
    reason: str


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class Loader:
    """An iterator over the batches of a data set, once through; also a context manager.

    Attributes:
        unreadable: The images left out so far.
    """

    def __init__(self, plan: "_Plan") -> None:
        self.unreadable: list[Unreadable] = []
        self._batches = _run(plan, self.unreadable)

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

    dataset: Dataset
    preprocessing: Preprocessing
    batch_size: int
    workers: int
    skip_unreadable: bool
    prefetch: int

    def decode(self, image: LabelledImage) -> Pixels | DataError:
        """Return one image's pixels, or the error, which the asking thread raises or counts."""
        try:
            return preprocess(image.read(), self.preprocessing)
        except DataError as error:
            return error


def load_batches(
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int | None = None,
    skip_unreadable: bool = False,
    prefetch: int = 3,
) -> Loader:
    """Return the batches of a data set, decoded ahead.

    Args:
        dataset: The images.
        preprocessing: The bundle's contract.
        batch_size: Images per batch; the last one, and one with unreadable images, may be smaller.
        workers: Decoding threads; None for the number of usable cores.
        skip_unreadable: Leave unreadable images out and list them, where else they are an error.
        prefetch: Batches decoded ahead.

    Raises:
        UsageError: A number is less than 1.
        DataError: (From the iterator.) An image cannot be read, or none can.
    """
    threads = usable_cores() if workers is None else workers
    for option, value in (("batch size", batch_size), ("workers", threads), ("prefetch", prefetch)):
        if value < 1:
            raise UsageError(f"{option} {value}: expected at least 1")
    return Loader(_Plan(dataset, preprocessing, batch_size, threads, skip_unreadable, prefetch))


def _run(plan: _Plan, unreadable: list[Unreadable]) -> Generator[Batch, None, None]:
    """Yield the batches; the threads live as long as the iteration."""
    ahead: deque[tuple[int, Future[Pixels | DataError]]] = deque()
    images, size = plan.dataset.images, plan.batch_size
    pool = ThreadPoolExecutor(plan.workers, "decode", initializer=_yield_to_inference)
    submitted = 0
    with pillow_silenced():
        try:
            for start in range(0, len(images), size):
                for index in range(submitted, min(start + (plan.prefetch + 1) * size, len(images))):
                    ahead.append((index, pool.submit(plan.decode, images[index])))
                    submitted = index + 1
                here = [ahead.popleft() for _ in range(min(size, len(images) - start))]
                batch = _gather(plan, here, unreadable)
                if batch is not None:
                    yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if len(unreadable) == len(images) > 0:
        raise DataError(f"none of the {len(images)} images can be read; the first: {unreadable[0].reason}")


def _gather(
    plan: _Plan, here: list[tuple[int, "Future[Pixels | DataError]"]], unreadable: list[Unreadable]
) -> Batch | None:
    """Return one batch, or None where not one of its images can be read.

    Raises:
        DataError: An image cannot be read, and may not be skipped.
    """
    kept: list[tuple[int, Pixels]] = []
    for index, future in here:
        image = plan.dataset.images[index]
        # Rule 3: the workers may get no time at all on a busy machine; whoever waits has better use for it.
        pixels = plan.decode(image) if future.cancel() else future.result()
        if not isinstance(pixels, DataError):
            kept.append((index, pixels))
        elif plan.skip_unreadable:
            unreadable.append(Unreadable(image.name, str(pixels)))
        else:
            raise DataError(f"{pixels} ({index - len(unreadable)} of {len(plan.dataset)} images were read)") from pixels
    if not kept:
        return None
    indices = np.array([index for index, _ in kept], np.int64)
    labels = np.array([plan.dataset.images[index].label for index in indices], np.int64)
    return Batch(np.stack([pixels for _, pixels in kept]), labels, indices)


def _yield_to_inference() -> None:
    """Give the calling thread the lowest priority. Only Linux has priorities of single threads this way."""
    if sys.platform == "linux":
        # A sandbox may forbid it: then the figures above are those of equal priority, nothing else changes.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
