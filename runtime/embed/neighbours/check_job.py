"""A neighbour check on a job's images: draw a sample, decode it, and let PyTorch and the engine embed it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import NEIGHBOURS_FILE, make_results_folder
from runtime.bundle.results.neighbours_json import Metric, NeighbourCheck, write_neighbours
from runtime.data.sources.entries import Entry, Source
from runtime.data.sources.open_source import open_source
from runtime.data.sources.sample import sample_keys
from runtime.embed.decode import decode_entry
from runtime.embed.job import JobListener
from runtime.embed.neighbours.check import check_neighbours
from runtime.embed.opening import contract_of, engine_options, transform_of
from runtime.embed.request import EmbedRequest
from runtime.errors import DataError
from runtime.images.losses import NO_LOSSES, Losses
from runtime.images.reading import pillow_silenced
from runtime.support.arrays import Pixels
from runtime.support.cpu import usable_cores
from runtime.support.read_ahead import Ahead, read_ahead

# Some thousands are enough: recall at 10 is then known to about a percentage point, and PyTorch takes a minute.
DEFAULT_SAMPLE = 2000


@dataclass(frozen=True)
class CheckChoice:
    """What is checked, and how.

    Attributes:
        sample: Images drawn, or all where there are fewer.
        seed: Seed of the random draw.
        metric: The distance that the index uses.
        save: Whether the result is kept for `run-ssl report`, in the bundle's `results` folder.
    """

    sample: int = DEFAULT_SAMPLE
    seed: int = 0
    metric: Metric = "cosine"
    save: bool = False


@dataclass
class _Sampled:
    """The pixels of a sample, batch by batch, read once.

    Attributes:
        unreadable: Images that could not be read, so far.
        first_reason: Reason why the first of them cannot be read.
        lost: What the images lost on their way to the network, so far.
    """

    source: Source
    positions: tuple[int, ...]
    request: EmbedRequest
    bundle: Bundle
    unreadable: int = 0
    first_reason: str = field(default="")
    lost: Losses = NO_LOSSES

    def batches(self) -> Iterator[Pixels]:
        """Yield (N, H, W, C) uint8, N >= 1."""
        ahead = Ahead(self.request.batch_size, self.request.workers or usable_cores())
        contract = contract_of(self.request, self.bundle)
        decode = partial(decode_entry, transform=transform_of(self.request, self.bundle), preprocessing=contract)
        decoded = read_ahead(self.source.opened(self._entries()), decode, ahead)
        with pillow_silenced(), closing(decoded):
            for images in decoded:
                missing = [image for image in images if image.pixels is None]
                if missing and not self.unreadable:
                    self.first_reason = f"{missing[0].key}: {missing[0].reason}"
                self.unreadable += len(missing)
                self.lost = sum((image.lost for image in images), self.lost)
                pixels = [image.pixels for image in images if image.pixels is not None]
                if pixels:
                    yield np.stack(pixels)

    def _entries(self) -> Iterator[Entry]:
        wanted = frozenset(self.positions)
        return (entry for position, entry in enumerate(self.source.entries()) if position in wanted)


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        check: The agreement.
        unreadable: Images of the sample that could not be read, and were left out.
        lost: What the images lost on their way to the network.
    """

    check: NeighbourCheck
    unreadable: int
    lost: Losses


def run_check(request: EmbedRequest, choice: CheckChoice, listener: JobListener | None = None) -> CheckResult:
    """Compare the neighbours that a bundle's embeddings have with those of PyTorch's, on a sample of a job's images.

    Args:
        request: The job; its output and what it would write are not looked at.
        choice: What is checked.
        listener: Receiver of the progress.

    Raises:
        ExportSslError: Anything that stops it, in one line.
    """
    listener = listener or JobListener()
    listener.on_stage("open the bundle")
    bundle = open_bundle(request.bundle)
    # A folder that cannot be made is found now rather than after the minute that PyTorch takes.
    results = make_results_folder(request.bundle) if choice.save else None
    source = open_source(request.images, request.reading)
    listener.on_stage(f"draw a sample of {source.what}")
    positions = sample_keys((entry.key for entry in source.entries()), size=choice.sample, seed=choice.seed)
    sampled = _Sampled(source, positions, request, bundle)
    listener.on_stage("open PyTorch and the engine")
    listener.on_start(len(positions), 0)
    try:
        check = check_neighbours(
            bundle,
            sampled.batches(),
            engine=request.engine,
            options=engine_options(request),
            metric=choice.metric,
            on_batch=listener.on_images,
        )
    except DataError as error:
        if sampled.unreadable:
            raise DataError(
                f"none of {len(positions)} images can be read; the first: {sampled.first_reason}"
            ) from error
        raise
    check = check.model_copy(update={"source": source.what})
    if results is not None:
        write_neighbours(results / NEIGHBOURS_FILE, check)
    return CheckResult(check, sampled.unreadable, sampled.lost)
