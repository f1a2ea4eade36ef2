"""Compare a graph with PyTorch after every step, on real images."""

import math
from dataclasses import dataclass

import numpy as np

from runtime.bundle.bundle import Golden
from runtime.bundle.manifest import output_names
from runtime.engines.contract import Outputs, read_outputs
from runtime.engines.ort_session import open_session
from runtime.errors import VerificationError
from runtime.support.arrays import Floats, Pixels
from runtime.support.paired_statistics import sqnr_db


@dataclass(frozen=True)
class Check:
    """How far one graph is from PyTorch.

    Attributes:
        logits_db: Logits SQNR, decibels; infinite where equal, None without a classifier.
        embedding_db: Embedding SQNR, decibels.
        required_db: The tolerance.
    """

    logits_db: float | None
    embedding_db: float
    required_db: float

    @property
    def judged_db(self) -> float:
        """SQNR of what accuracy depends on, decibels: the logits', or the embedding's where there are none."""
        return self.embedding_db if self.logits_db is None else self.logits_db

    @property
    def worst_db(self) -> float:
        """The least SQNR of all outputs, decibels."""
        return min(self.judged_db, self.embedding_db)


def check_step(
    graph: bytes, *, step: str, feed: Pixels | Floats, golden: Golden, required_db: float, as_written: bool = True
) -> Check:
    """Run a graph in onnxruntime and compare it with PyTorch's outputs.

    Args:
        graph: A serialised ONNX model.
        step: Name of the export step that made it, for the message.
        feed: The golden images as the graph's input.
        golden: PyTorch's outputs for them.
        required_db: Least SQNR of every output, decibels.
        as_written: Keep onnxruntime from fusing nodes, which would check another graph. A finished graph is run
            fused, as a user runs it, but for Q/DQ: they are computed as written, not by this machine's integer
            kernels.

    Raises:
        VerificationError: An output is not finite or differs by more than the tolerance.
    """
    classifies = golden.logits.shape[1] > 0
    logits, embedding = _run(graph, feed, output_names(golden.logits.shape[1]), as_written=as_written)
    check = Check(
        logits_db=_compare(step, "logits", golden.logits, logits) if classifies else None,
        embedding_db=_compare(step, "embedding", golden.embedding, embedding),
        required_db=required_db,
    )
    if not check.worst_db >= required_db:
        name = "logits" if check.worst_db < check.embedding_db else "embedding"
        raise VerificationError(
            f"step {step}: output {name} has {check.worst_db:.1f} dB SQNR against PyTorch, expected at least "
            f"{required_db:.1f} dB: no bundle is written; please report this model and the tool versions"
        )
    return check


def _run(graph: bytes, feed: Pixels | Floats, outputs: tuple[str, ...], *, as_written: bool) -> Outputs:
    # Integer kernels that saturate are for `run-ssl verify` to find in an engine; here the graph is judged. The export
    # goes on in the other thread meanwhile; more threads here would only take its core.
    session = open_session(graph, fusion="none" if as_written else "float", threads=1)
    return read_outputs(session.run(outputs, {session.get_inputs()[0].name: feed}))


def _compare(step: str, name: str, reference: Floats, found: Floats) -> float:
    if found.shape != reference.shape:
        raise VerificationError(f"step {step}: output {name} has shape {found.shape}, expected {reference.shape}")
    if not np.isfinite(found).all():
        worst = int(np.argmax(~np.isfinite(found).all(axis=1)))
        raise VerificationError(f"step {step}: output {name} of golden image {worst} holds NaN or infinity")
    return sqnr_db(reference, found)


def as_json_db(decibels: float) -> float | None:
    """Return decibels rounded for a manifest; None for infinity, which JSON does not have."""
    return None if math.isinf(decibels) else round(decibels, 2)
