"""Judge candidates by the SQNR of their outputs on calibration images that were held out from everything else.

All outputs count alike, `logits` and `embedding`, or the embedding alone where there is no classifier: the figure is
the SQNR that the mean of their noises has, each relative to its own signal. An output that nothing changes, as a
classifier of zeros gives, leaves the choice to the other one.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from calibration.graph.run import judged_outputs, run_outputs, run_with_constants
from calibration.graph.without_weights import NO_WEIGHTS, Weights
from runtime.support.arrays import Feed, Floats
from runtime.support.paired_statistics import SqnrSum


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

    def sqnr_db(self, model: onnx.ModelProto, *, weights: Weights = NO_WEIGHTS) -> float:
        """Return the SQNR of a graph's outputs against the float network's, decibels; see the module."""
        found = run_outputs(model, judged_outputs(model), self.batches, weights=weights, threads=self.threads)
        return self._judged(found)

    def each_sqnr_db(
        self, model: onnx.ModelProto, constants: Sequence[Mapping[str, Feed]], *, weights: Weights = NO_WEIGHTS
    ) -> Iterator[float]:
        """Yield the SQNR of a graph once for each setting of some of its constants; see the module.

        Args:
            model: A graph; these constants become inputs of it.
            constants: Names of constants to their values, the same names each time.
            weights: Large constants that stand outside the graph, by name.
        """
        names = judged_outputs(model)
        runs = run_with_constants(model, names, self.batches, constants, weights=weights, threads=self.threads)
        for found in runs:
            yield self._judged(found)

    def _judged(self, found: Sequence[Sequence[Floats]]) -> float:
        """Return the SQNR of the outputs for every batch, decibels."""
        totals = [SqnrSum() for _ in self.reference[0]]
        for references, outputs in zip(self.reference, found, strict=True):
            totals = [
                total.add(reference, output)
                for total, reference, output in zip(totals, references, outputs, strict=True)
            ]
        self.on_candidate()
        noise = sum(10.0 ** (-total.db / 10.0) for total in totals) / len(totals)
        return -10.0 * math.log10(noise) if noise else math.inf
