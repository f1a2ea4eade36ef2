"""The PyTorch original and any number of engines, scored on the same images in one pass.

Only sums and counts are kept, so memory does not grow with the number of images.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from runtime.compare_report import EngineScore, OriginalScore
from runtime.engine import Engine, Floats, Pixels
from runtime.errors import DataError, EngineError
from runtime.paired_statistics import (
    NO_DECISION,
    Flags,
    Ints,
    SqnrSum,
    label_ranks,
    mcnemar_p,
    paired_drop_ci95,
    top1_decisions,
)

# Top-5 is the field's second figure; a network with fewer classes counts all of them.
_TOP_K = 5
# perf_counter ticks in nanoseconds; a faster batch must not divide by zero.
_MIN_SECONDS = 1e-9


class LabelledBatch(Protocol):
    """Some images with their classes."""

    @property
    def pixels(self) -> Pixels:
        """RGB images as the bundle's preprocessing makes them, (N, H, W, 3) uint8, N >= 1."""
        ...

    @property
    def labels(self) -> Ints:
        """Class indices, (N,) int64."""
        ...


_Batch = TypeVar("_Batch", bound=LabelledBatch)


@dataclass(frozen=True)
class Scores:
    """What a pass over the images measured; `Comparison` adds what is known without running.

    Attributes:
        original: The PyTorch original.
        engines: One score per engine, in the order given.
        seconds: Wall time of the pass: waiting for batches, all engines, scoring.
    """

    original: OriginalScore
    engines: tuple[EngineScore, ...]
    seconds: float

    @property
    def images_per_s(self) -> float:
        """Images through the whole pass per second of wall time."""
        return self.original.images / max(self.seconds, _MIN_SECONDS)


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
    reference, tallies = _Tally(), [_Tally() for _ in engines]
    images = 0
    for batch in batches:
        truth = _judge(original, batch, tally=reference, classes=None)
        for number, (engine, tally) in enumerate(zip(engines, tallies, strict=True)):
            verdict = _judge(engine, batch, tally=tally, classes=truth.logits.shape[1])
            tally.pair(truth, verdict)
            if on_pair is not None:
                on_pair(number, batch, truth.logits, verdict.logits)
        images += len(batch.labels)
        if on_batch is not None:
            on_batch(images)
    if not images:
        raise DataError("the data gave 0 images, expected at least 1: check the data folder and --limit")
    return Scores(
        original=_original_score(original, reference),
        engines=tuple(_engine_score(*pair, reference=reference) for pair in zip(engines, tallies, strict=True)),
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class _Verdict:
    """One engine's answers to one batch.

    Attributes:
        logits: (N, C) float32.
        hits: Whether the label came first, (N,) bool.
        decisions: Class that came first, (N,) int64, `NO_DECISION` where the row holds NaN.
    """

    logits: Floats
    hits: Flags
    decisions: Ints


@dataclass
class _Tally:
    """Running counts of one engine over the batches; the paired ones stay 0 for the original."""

    images: int = 0
    top1: int = 0
    top5: int = 0
    top5_k: int = _TOP_K
    non_finite_logits: int = 0
    non_finite_images: int = 0
    seconds: float = 0.0
    warm_up_images: int = 0
    warm_up_seconds: float = 0.0
    lost: int = 0
    gained: int = 0
    agreed: int = 0
    sqnr: SqnrSum = field(default_factory=SqnrSum)

    def pair(self, truth: _Verdict, verdict: _Verdict) -> None:
        """Add how one batch's answers relate to the original's."""
        self.lost += int(np.count_nonzero(truth.hits & ~verdict.hits))
        self.gained += int(np.count_nonzero(verdict.hits & ~truth.hits))
        decided = truth.decisions != NO_DECISION
        self.agreed += int(np.count_nonzero(decided & (truth.decisions == verdict.decisions)))
        self.sqnr = self.sqnr.add(truth.logits, verdict.logits)

    @property
    def images_per_s(self) -> float:
        """Images per second inside `infer`, without the first batch where there is a second one."""
        if self.images == self.warm_up_images:
            return self.images / max(self.seconds, _MIN_SECONDS)
        return (self.images - self.warm_up_images) / max(self.seconds - self.warm_up_seconds, _MIN_SECONDS)

    def clock(self, images: int, seconds: float) -> None:
        """Add one batch's time; the first batch is also the warm-up."""
        if not self.images:
            self.warm_up_images, self.warm_up_seconds = images, seconds
        self.images += images
        self.seconds += seconds


def _judge(engine: Engine, batch: LabelledBatch, *, tally: _Tally, classes: int | None) -> _Verdict:
    """Run one batch, add its scores to `tally`, and return the answers."""
    started = time.perf_counter()
    logits = engine.infer(batch.pixels).logits
    seconds = time.perf_counter() - started
    images = len(batch.labels)
    if logits.ndim != 2 or logits.shape != (images, classes or logits.shape[1]):
        raise EngineError(
            f"{engine.name} gave logits shaped {logits.shape}, expected ({images}, {classes or 'classes'}):"
            " the bundle and the original are not the same network; export it again from these weights"
        )
    ranks = label_ranks(logits, batch.labels)
    finite = np.isfinite(logits)
    tally.top5_k = min(_TOP_K, logits.shape[1])
    tally.clock(images, seconds)
    tally.top1 += int(np.count_nonzero(ranks < 1))
    tally.top5 += int(np.count_nonzero(ranks < tally.top5_k))
    tally.non_finite_logits += int(np.count_nonzero(~finite))
    tally.non_finite_images += int(np.count_nonzero(~finite.all(axis=1)))
    return _Verdict(logits=logits, hits=ranks < 1, decisions=top1_decisions(logits))


def _original_score(engine: Engine, tally: _Tally) -> OriginalScore:
    return OriginalScore(
        engine=engine.name,
        precision=engine.precision,
        top1=tally.top1 / tally.images,
        top5=tally.top5 / tally.images,
        top5_k=tally.top5_k,
        images=tally.images,
        images_per_s=tally.images_per_s,
        non_finite_logits=tally.non_finite_logits,
        non_finite_images=tally.non_finite_images,
    )


def _engine_score(engine: Engine, tally: _Tally, *, reference: _Tally) -> EngineScore:
    images, db = tally.images, tally.sqnr.db
    return EngineScore(
        engine=engine.name,
        precision=engine.precision,
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
