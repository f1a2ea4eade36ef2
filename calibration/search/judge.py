"""Judge candidates by the SQNR of their outputs on calibration images that were held out from everything else.

All outputs count alike, `logits` and `embedding`, or the embedding alone where there is no classifier: the figure is
the SQNR that the mean of their noises has, each relative to its own signal. An output that nothing changes, as a
classifier of zeros gives, leaves the choice to the other one.

A candidate that is surely worse than a rival on the first images is not judged on the others. The images are put in an
order in which the first ones are spread over all of them, and so over the classes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from calibration.graph.run import judged_outputs, open_with_constants, run_outputs
from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.support.arrays import Doubles, Feed, Floats
from runtime.support.paired_statistics import SqnrSum

# Draws of the images, with replacement, and the shares that an interval of 95 % leaves out on either side.
_DRAWS = 2000
_ENDS = (0.025, 0.975)
_SEED = 0
# On so many images a candidate is judged first: enough for the bootstrap to tell most of them apart.
_FIRST_IMAGES = 16


@dataclass(frozen=True)
class Judged:
    """How far a graph's outputs are from the float network's, image by image.

    Attributes:
        signal: Sum of squares of the float network's values, (outputs, N) float64.
        noise: Sum of squares of the difference, likewise; infinity where a value was not finite.
    """

    signal: Doubles
    noise: Doubles

    @property
    def images(self) -> int:
        """How many images it was judged on."""
        return int(self.signal.shape[1])

    def first(self, images: int) -> "Judged":
        """Return the same of the first so many images."""
        return Judged(self.signal[:, :images], self.noise[:, :images])

    @property
    def order(self) -> tuple[int, float]:
        """What puts graphs in order: one that was dropped after the first images never leads one that was not."""
        return self.images, self.db

    def surely_worse(self, rival: "Judged") -> bool:
        """Return whether a rival is better beyond the luck of few images: the whole 95 % interval lies below zero."""
        gain = self.gain_ci95(rival)
        return gain is not None and gain[1] < 0

    @property
    def db(self) -> float:
        """SQNR over all images, decibels; see the module."""
        sums = [SqnrSum(*both).db for both in zip(self.signal.sum(axis=1), self.noise.sum(axis=1), strict=True)]
        noise = sum(10.0 ** (-db / 10.0) for db in sums) / len(sums)
        return -10.0 * math.log10(noise) if noise else math.inf

    def gain_ci95(self, before: "Judged") -> tuple[float, float] | None:
        """Return the 95 % interval of this graph's SQNR less another one's on the same images, decibels.

        The images are drawn anew, with replacement, the same for both graphs: what an image costs both alike says
        nothing about a difference. None where one of the two has no noise, or outputs that are not finite.

        Args:
            before: The other graph; where one of the two was judged on fewer images, these count.

        Source: the percentile bootstrap for paired samples, Efron and Tibshirani 1993, An Introduction to the
        Bootstrap, section 13.3.
        """
        if not (math.isfinite(self.db) and math.isfinite(before.db)):
            return None
        images = min(self.images, before.images)
        counts = np.random.default_rng(_SEED).multinomial(images, np.full(images, 1 / images), size=_DRAWS)
        drawn = counts.astype(np.float64)
        ours, others = (_mean_noise(judged.first(images), drawn) for judged in (self, before))
        with np.errstate(divide="ignore", invalid="ignore"):
            gains = 10.0 * (np.log10(others) - np.log10(ours))
        # A draw of images that neither graph gets wrong says that there is no difference.
        low, high = np.quantile(np.nan_to_num(gains), _ENDS)
        return float(low), float(high)


def _mean_noise(judged: Judged, drawn: Doubles) -> Doubles:
    """Return the mean over the outputs of noise by signal for every draw of images, (draws,) float64."""
    signal, noise = drawn @ judged.signal.T, drawn @ judged.noise.T
    shares: Doubles = np.divide(noise, signal, out=np.zeros_like(noise), where=signal > 0).mean(axis=1)
    return shares


@dataclass
class Judge:
    """The held-out images with what the float network gives for them.

    Attributes:
        batches: The graph's input, batch by batch; the first images are representative of all (`spread`).
        reference: The float network's outputs (`judged_outputs`), (N, D) float32 each, for every batch.
        threads: Threads of onnxruntime; None leaves its choice.
        on_candidate: Called after every graph judged.
    """

    batches: Sequence[Feed]
    reference: Sequence[Sequence[Floats]]
    threads: int | None = None
    on_candidate: Callable[[], None] = field(default=lambda: None)

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(len(batch) for batch in self.batches)

    def sqnr_db(self, model: onnx.ModelProto) -> float:
        """Return the SQNR of a graph's outputs against the float network's, decibels; see the module."""
        return self.judge(model).db

    def judge(self, model: onnx.ModelProto, *, weights: Weights = NO_WEIGHTS, rival: Judged | None = None) -> Judged:
        """Return how far a graph's outputs are from the float network's.

        Args:
            model: The graph.
            weights: Large constants that stand outside the graph, by name.
            rival: What it is compared with; where the graph is surely worse on the first images, it is judged on them
                alone.
        """
        return self.race(model, [{}], weights=weights, rival=rival)[0]

    def judge_on_first(self, model: onnx.ModelProto, *, weights: Weights = NO_WEIGHTS) -> Judged:
        """Return what `judge` returns on the first images alone: for a graph that what comes on top mostly replaces."""
        head = self._batches_of_first()
        found = run_outputs(model, judged_outputs(model), self.batches[:head], weights=weights, threads=self.threads)
        return self._told([self._judged(found, slice(None, head))])[0]

    def race(
        self,
        model: onnx.ModelProto,
        constants: Sequence[Mapping[str, Feed]],
        *,
        weights: Weights = NO_WEIGHTS,
        rival: Judged | None = None,
    ) -> list[Judged]:
        """Return what `judge` returns, once for each setting of some of a graph's constants.

        All are judged on the first images, and then on the others those that are not surely worse than the best of them
        or the rival.

        Args:
            model: A graph; these constants become inputs of it.
            constants: Names of constants to their values, the same names each time.
            weights: Large constants that stand outside the graph, by name.
            rival: Another graph that was judged.
        """
        head = self._batches_of_first()
        names = judged_outputs(model)
        with open_with_constants(model, names, constants[0].keys(), weights=weights, threads=self.threads) as run:
            found = [self._judged(run(values, self.batches[:head]), slice(None, head)) for values in constants]
            if head == len(self.batches):
                return self._told(found)
            best = max(found, key=lambda judged: judged.db)
            rivals = [best] if rival is None else [best, rival]
            for place, values in enumerate(constants):
                if not any(found[place].surely_worse(one) for one in rivals):
                    rest = self._judged(run(values, self.batches[head:]), slice(head, None))
                    found[place] = _joined(found[place], rest)
            return self._told(found)

    def _batches_of_first(self) -> int:
        """Return how many batches hold the first images, or all where they would be more than half."""
        images = np.cumsum([len(batch) for batch in self.batches])
        head = int(np.searchsorted(images, _FIRST_IMAGES)) + 1
        return head if self.images >= 2 * _FIRST_IMAGES else len(self.batches)

    def _told(self, found: list[Judged]) -> list[Judged]:
        for _ in found:
            self.on_candidate()
        return found

    def _judged(self, found: Sequence[Sequence[Floats]], batches: slice) -> Judged:
        sums = [
            [SqnrSum().add(*pair) for pair in zip(reference, output, strict=True)]
            for batch, outputs in zip(self.reference[batches], found, strict=True)
            for reference, output in zip(batch, outputs, strict=True)
        ]
        # Batch after batch, the outputs in turn: every output's images one after the other.
        count = len(self.reference[0])
        by_output = [[one for batch in sums[place::count] for one in batch] for place in range(count)]
        return Judged(
            signal=np.array([[one.signal for one in images] for images in by_output]),
            noise=np.array([[one.noise for one in images] for images in by_output]),
        )


def spread(batches: Sequence[Feed]) -> list[Feed]:
    """Return the images of some batches in an order whose beginning is spread over all of them.

    Args:
        batches: (N, ...) each, all of one size but the last.
    """
    if not batches:
        return []
    images = np.concatenate(batches)
    strides = max(len(images) // _FIRST_IMAGES, 1)
    order = [place for start in range(strides) for place in range(start, len(images), strides)]
    size = len(batches[0])
    return [images[order[at : at + size]] for at in range(0, len(order), size)]


def _joined(head: Judged, rest: Judged) -> Judged:
    return Judged(np.concatenate([head.signal, rest.signal], axis=1), np.concatenate([head.noise, rest.noise], axis=1))
