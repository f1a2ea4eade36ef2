"""Counts of the original and the engines over some batches of the same images, and of several such stretches together.

Only sums and counts are kept, so memory does not grow with the number of images. Whole numbers of merged tallies are
those of one pass, in whichever way the images were cut; SQNR's float64 sums are so to rounding.
"""

import operator
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar

import numpy as np

from runtime.engines.contract import Engine
from runtime.errors import EngineError
from runtime.support.arrays import AnyFloats, Flags, Floats, Ints, Pixels
from runtime.support.paired_statistics import NO_DECISION, SqnrSum, label_ranks, top1_decisions

# Top-5 is the field's second figure; a network with fewer classes counts all of them.
_TOP_K = 5
# perf_counter ticks in nanoseconds; a faster batch must not divide by zero.
MIN_SECONDS = 1e-9


class LabelledBatch(Protocol):
    """Some images with their classes."""

    @property
    def pixels(self) -> Pixels:
        """Images as the bundle's preprocessing makes them, (N, H, W, C) uint8, N >= 1."""
        ...

    @property
    def labels(self) -> Ints:
        """Class indices, (N,) int64."""
        ...


_Batch = TypeVar("_Batch", bound=LabelledBatch)


@dataclass(frozen=True)
class Verdict:
    """One engine's answers to one batch.

    Attributes:
        output: What SQNR compares: logits, (N, C) float32, or without a classifier embeddings, (N, D) float32.
        hits: Whether the label came first, (N,) bool.
        decisions: Class that came first, (N,) int64, `NO_DECISION` where the row holds NaN.
    """

    output: Floats
    hits: Flags
    decisions: Ints


@dataclass
class Tally:
    """Running counts of one engine; the paired ones stay 0 for the original.

    Attributes:
        engine: Name of the engine.
        precision: What it really executes.
        images: Images run.
        top1: Number of images whose label came first.
        top5: Number of images whose label was among the first `top5_k`.
        top5_k: 5, or the number of classes where there are fewer.
        non_finite_logits: Logits, or without a classifier numbers of embeddings, that are NaN or infinite.
        non_finite_images: Images with such a number.
        repeated: Number of images whose output equals another image's of their batch, to the last bit.
        seconds: Time inside `infer`.
        warm_up_images: Images of the batches that warmed an engine up, the first one of each opened engine.
        warm_up_seconds: Time of those inside `infer`.
        lost: Images that only the original gets right.
        gained: Images that only this engine gets right.
        agreed: Images with the original's decision.
        sqnr: SQNR of the logits, or without a classifier of the embeddings, against the original's.
    """

    engine: str
    precision: str
    images: int = 0
    top1: int = 0
    top5: int = 0
    top5_k: int = _TOP_K
    non_finite_logits: int = 0
    non_finite_images: int = 0
    repeated: int = 0
    seconds: float = 0.0
    warm_up_images: int = 0
    warm_up_seconds: float = 0.0
    lost: int = 0
    gained: int = 0
    agreed: int = 0
    sqnr: SqnrSum = field(default_factory=SqnrSum)

    def judge(self, scores: AnyFloats, labels: Ints, *, output: Floats) -> Verdict:
        """Add one batch's scores, and return the answers.

        Args:
            scores: Score of each class, (N, C): the logits, or what nearest neighbours vote for.
            labels: Class indices, (N,) int64.
            output: What SQNR compares, and what has to be finite; see `Verdict`.

        Raises:
            DataError: A label is not a class of the network.
        """
        ranks = label_ranks(scores, labels)
        finite = np.isfinite(output)
        self.top5_k = min(_TOP_K, scores.shape[1])
        self.images += len(labels)
        self.top1 += int(np.count_nonzero(ranks < 1))
        self.top5 += int(np.count_nonzero(ranks < self.top5_k))
        self.non_finite_logits += int(np.count_nonzero(~finite))
        self.non_finite_images += int(np.count_nonzero(~finite.all(axis=1)))
        self.repeated += len(output) - len({row.tobytes() for row in output})
        return Verdict(output=output, hits=ranks < 1, decisions=top1_decisions(scores))

    def clock(self, images: int, seconds: float, *, warm_up: bool) -> None:
        """Add one batch's time."""
        self.seconds += seconds
        if warm_up:
            self.warm_up_images += images
            self.warm_up_seconds += seconds

    def pair(self, truth: Verdict, verdict: Verdict) -> None:
        """Add how one batch's answers relate to the original's."""
        self.lost += int(np.count_nonzero(truth.hits & ~verdict.hits))
        self.gained += int(np.count_nonzero(verdict.hits & ~truth.hits))
        decided = truth.decisions != NO_DECISION
        self.agreed += int(np.count_nonzero(decided & (truth.decisions == verdict.decisions)))
        self.sqnr = self.sqnr.add(truth.output, verdict.output)

    def merge(self, other: "Tally") -> "Tally":
        """Return the counts of both stretches together: sums, but for the fields that `_MERGED` names."""
        merged = {
            one.name: _MERGED.get(one.name, operator.add)(getattr(self, one.name), getattr(other, one.name))
            for one in fields(self)
        }
        return Tally(**merged)

    @property
    def images_per_s(self) -> float:
        """Images per second inside `infer`, without the batches that warmed up where there are others."""
        if self.images == self.warm_up_images:
            return self.images / max(self.seconds, MIN_SECONDS)
        return (self.images - self.warm_up_images) / max(self.seconds - self.warm_up_seconds, MIN_SECONDS)


def _same(one: str, another: str) -> str:
    assert one == another, "tallies of two engines"
    return one


# How two stretches' values of a field become one, where they are no counts.
_MERGED: dict[str, Callable[[Any, Any], Any]] = {
    "engine": _same,
    "precision": _same,
    # A stretch without an image has not seen the network, and says 5.
    "top5_k": min,
    "sqnr": SqnrSum.merge,
}


@dataclass(frozen=True)
class Tallies:
    """The counts of all that ran on the same images.

    Attributes:
        original: The PyTorch original's.
        engines: The engines', in the order given.
    """

    original: Tally
    engines: tuple[Tally, ...]

    @classmethod
    def of(cls, original: Engine, engines: Iterable[Engine]) -> "Tallies":
        """Return counts of nothing yet."""
        return cls(
            Tally(original.name, original.precision), tuple(Tally(engine.name, engine.precision) for engine in engines)
        )

    def merge(self, other: "Tallies") -> "Tallies":
        """Return the counts of these images and another stretch's."""
        pairs = zip(self.engines, other.engines, strict=True)
        return Tallies(self.original.merge(other.original), tuple(one.merge(another) for one, another in pairs))


def tally_batches(
    batches: Iterable[_Batch],
    *,
    original: Engine,
    engines: Sequence[Engine],
    warm: bool = False,
    on_batch: Callable[[int], None] | None = None,
    on_pair: Callable[[int, _Batch, Floats, Floats], None] | None = None,
) -> Tallies:
    """Run the original and the engines on the same batches and count.

    Args:
        batches: Images with labels; read once, one batch held at a time.
        original: The PyTorch original, the reference of every difference.
        engines: Opened engines of the exported network. They stay open.
        warm: Whether all have run a batch before; else the first one counts as warm-up.
        on_batch: Called after every batch with the number of images done so far.
        on_pair: Called with an engine's number, a batch, and the original's and the engine's logits of it.

    Raises:
        DataError: A label is not a class of the network.
        EngineError: An engine gave logits of another shape than (images, the original's classes).
    """
    tallies = Tallies.of(original, engines)
    reference = tallies.original
    for batch in batches:
        truth = _run(original, batch, tally=reference, classes=None, warm_up=not warm)
        for number, (engine, tally) in enumerate(zip(engines, tallies.engines, strict=True)):
            verdict = _run(engine, batch, tally=tally, classes=truth.output.shape[1], warm_up=not warm)
            tally.pair(truth, verdict)
            if on_pair is not None:
                on_pair(number, batch, truth.output, verdict.output)
        warm = True
        if on_batch is not None:
            on_batch(reference.images)
    return tallies


def _run(engine: Engine, batch: LabelledBatch, *, tally: Tally, classes: int | None, warm_up: bool) -> Verdict:
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
    tally.clock(images, seconds, warm_up=warm_up)
    return tally.judge(logits, batch.labels, output=logits)
