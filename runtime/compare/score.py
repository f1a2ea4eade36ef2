"""The PyTorch original and any number of engines, scored on the same images in one pass."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from runtime.bundle.results.compare_json import EngineScore, OriginalScore
from runtime.compare.by_neighbours import NeighbourTallies, tally_by_neighbours
from runtime.compare.tally import MIN_SECONDS, LabelledBatch, Tallies, Tally, tally_batches
from runtime.engines.contract import Engine
from runtime.errors import DataError
from runtime.support.arrays import Floats
from runtime.support.paired_statistics import mcnemar_p, paired_drop_ci95

_Batch = TypeVar("_Batch", bound=LabelledBatch)


@dataclass(frozen=True)
class Scores:
    """What a pass over the images measured; `Comparison` adds what is known without running.

    Attributes:
        original: The PyTorch original.
        engines: One score per engine, in the order given.
        seconds: Wall time of the pass: waiting for batches, all engines, scoring.
        gallery_images: Images whose neighbours vote, where the network has no classifier; 0 where they are the images
            compared.
    """

    original: OriginalScore
    engines: tuple[EngineScore, ...]
    seconds: float
    gallery_images: int = 0

    @property
    def images_per_s(self) -> float:
        """Images through the whole pass per second of wall time."""
        return self.original.images / max(self.seconds, MIN_SECONDS)


def compare(
    batches: Iterable[_Batch],
    *,
    original: Engine,
    engines: Sequence[Engine],
    on_batch: Callable[[int], None] | None = None,
    on_pair: Callable[[int, _Batch, Floats, Floats], None] | None = None,
) -> Scores:
    """Run the original and the engines on the same batches and return their scores.

    An engine's images/s counts its `infer` calls alone, one engine after the other; the first batch
    warms it up and is left out where there is a second one.

    Args:
        batches: Images with labels; read once, one batch held at a time.
        original: The PyTorch original, the reference of every difference.
        engines: Opened engines of the exported network. They stay open.
        on_batch: Called after every batch with the number of images done so far.
        on_pair: Called with an engine's number, a batch, and the original's and the engine's logits of it.

    Raises:
        DataError: There is no image, or a label is not a class of the network.
        EngineError: An engine gave logits of another shape than (images, the original's classes).
    """
    started = time.perf_counter()
    tallies = tally_batches(batches, original=original, engines=engines, on_batch=on_batch, on_pair=on_pair)
    return score(tallies, seconds=time.perf_counter() - started)


def compare_by_neighbours(
    batches: Iterable[LabelledBatch],
    *,
    original: Engine,
    engines: Sequence[Engine],
    gallery: Iterable[LabelledBatch] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Scores:
    """Return the scores of networks without a classifier; see `tally_by_neighbours`, whose arguments these are.

    Raises:
        DataError: There is no image, or one alone.
        UsageError: There are too few images to ask for ten neighbours.
        EngineError: An engine gave embeddings of another shape than the original's.
    """
    started = time.perf_counter()
    found = tally_by_neighbours(batches, original=original, engines=engines, gallery=gallery, on_batch=on_batch)
    return score_by_neighbours(found, seconds=time.perf_counter() - started)


def score_by_neighbours(found: NeighbourTallies, *, seconds: float) -> Scores:
    """Return the scores that the counts of networks without a classifier amount to.

    Args:
        found: Counts of all images.
        seconds: Wall time of the pass.
    """
    scores = score(found.tallies, seconds=seconds)
    pairs = zip(scores.engines, found.embeddings, strict=True)
    return replace(
        scores,
        engines=tuple(one.model_copy(update={"embedding": embedding}) for one, embedding in pairs),
        gallery_images=found.gallery_images,
    )


def score(tallies: Tallies, *, seconds: float) -> Scores:
    """Return the scores that counts amount to.

    Args:
        tallies: Tallies of all images.
        seconds: Wall time of the pass.

    Raises:
        DataError: There is no image.
    """
    if not tallies.original.images:
        raise DataError("the data gave 0 images, expected at least 1: check the data folder and --limit")
    return Scores(
        original=_original_score(tallies.original),
        engines=tuple(_engine_score(tally, reference=tallies.original) for tally in tallies.engines),
        seconds=seconds,
    )


def _original_score(tally: Tally) -> OriginalScore:
    return OriginalScore(
        engine=tally.engine,
        precision=tally.precision,
        top1=tally.top1 / tally.images,
        top5=tally.top5 / tally.images,
        top5_k=tally.top5_k,
        images=tally.images,
        images_per_s=tally.images_per_s,
        non_finite_logits=tally.non_finite_logits,
        non_finite_images=tally.non_finite_images,
        repeated=tally.repeated,
    )


def _engine_score(tally: Tally, *, reference: Tally) -> EngineScore:
    images, db = tally.images, tally.sqnr.db
    return EngineScore(
        engine=tally.engine,
        precision=tally.precision,
        top1=tally.top1 / images,
        top5=tally.top5 / images,
        drop=(reference.top1 - tally.top1) / images,
        drop_ci95=paired_drop_ci95(tally.lost, tally.gained, images),
        mcnemar_p=mcnemar_p(tally.lost, tally.gained),
        agreement=tally.agreed / images,
        sqnr_db=db if np.isfinite(db) else None,
        identical=tally.sqnr.noise == 0.0,
        images_per_s=tally.images_per_s,
        only_original_right=tally.lost,
        only_engine_right=tally.gained,
        non_finite_logits=tally.non_finite_logits,
        non_finite_images=tally.non_finite_images,
    )
