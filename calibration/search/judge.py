"""Judge candidates by their SQNR on calibration images that were held out from everything else.

The SQNR is that of the logits, or of the embeddings where the network has no classifier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx

from calibration.graph.run import run_logits
from runtime.support.arrays import Feed, Floats
from runtime.support.paired_statistics import SqnrSum


@dataclass
class Judge:
    """The held-out images with what the float network gives for them.

    Attributes:
        batches: The graph's input, batch by batch.
        reference: What the float network gives: logits, one (N, classes) float32 per batch, or embeddings, (N, D).
        threads: Threads of onnxruntime; None leaves its choice.
        on_candidate: Called after every graph judged.
    """

    batches: Sequence[Feed]
    reference: Sequence[Floats]
    threads: int | None = None
    on_candidate: Callable[[], None] = field(default=lambda: None)

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(len(batch) for batch in self.batches)

    def sqnr_db(self, model: onnx.ModelProto) -> float:
        """Return the SQNR of a graph against the float network, decibels."""
        total = SqnrSum()
        for reference, found in zip(self.reference, run_logits(model, self.batches, threads=self.threads), strict=True):
            total = total.add(reference, found)
        self.on_candidate()
        return total.db
