"""Judge candidates by the SQNR of their outputs on calibration images that were held out from everything else.

All outputs count alike, `logits` and `embedding`, or the embedding alone where there is no classifier: the figure is
the SQNR that the mean of their noises has, each relative to its own signal. An output that nothing changes, as a
classifier of zeros gives, leaves the choice to the other one.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from calibration.graph.run import judged_outputs, run_outputs, run_with_constants
from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.support.arrays import Doubles, Feed, Floats
from runtime.support.paired_statistics import SqnrSum

# Draws of the images, with replacement, and the shares that an interval of 95 % leaves out on either side.
_DRAWS = 2000
_ENDS = (0.025, 0.975)
_SEED = 0


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
            before: The other graph.

        Source: the percentile bootstrap for paired samples, Efron and Tibshirani 1993, An Introduction to the
        Bootstrap, section 13.3.
        """
        if not (math.isfinite(self.db) and math.isfinite(before.db)):
            return None
        images = self.signal.shape[1]
        counts = np.random.default_rng(_SEED).multinomial(images, np.full(images, 1 / images), size=_DRAWS)
        drawn = counts.astype(np.float64)
        ours, others = (_mean_noise(judged, drawn) for judged in (self, before))
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
        batches: The graph's input, batch by batch.
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

    def judge(self, model: onnx.ModelProto, *, weights: Weights = NO_WEIGHTS) -> Judged:
        """Return how far a graph's outputs are from the float network's.

        Args:
            model: The graph.
            weights: Large constants that stand outside the graph, by name.
        """
        found = run_outputs(model, judged_outputs(model), self.batches, weights=weights, threads=self.threads)
        return self._judged(found)

    def judge_each(
        self, model: onnx.ModelProto, constants: Sequence[Mapping[str, Feed]], *, weights: Weights = NO_WEIGHTS
    ) -> Iterator[Judged]:
        """Yield what `judge` returns, once for each setting of some of a graph's constants.

        Args:
            model: A graph; these constants become inputs of it.
            constants: Names of constants to their values, the same names each time.
            weights: Large constants that stand outside the graph, by name.
        """
        names = judged_outputs(model)
        runs = run_with_constants(model, names, self.batches, constants, weights=weights, threads=self.threads)
        for found in runs:
            yield self._judged(found)

    def _judged(self, found: Sequence[Sequence[Floats]]) -> Judged:
        sums = [
            [SqnrSum().add(*pair) for pair in zip(reference, output, strict=True)]
            for batch, outputs in zip(self.reference, found, strict=True)
            for reference, output in zip(batch, outputs, strict=True)
        ]
        self.on_candidate()
        # Batch after batch, the outputs in turn: every output's images one after the other.
        count = len(self.reference[0])
        by_output = [[one for batch in sums[place::count] for one in batch] for place in range(count)]
        return Judged(
            signal=np.array([[one.signal for one in images] for images in by_output]),
            noise=np.array([[one.noise for one in images] for images in by_output]),
        )
