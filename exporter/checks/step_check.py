"""Compare a graph with PyTorch after every step, on real images."""

import math
from dataclasses import dataclass

import numpy as np

from runtime.bundle.bundle import Golden
from runtime.engines.ort_session import open_session
from runtime.errors import VerificationError
from runtime.support.arrays import Floats, Pixels
from runtime.support.paired_statistics import sqnr_db


@dataclass(frozen=True)
class Check:
    """How far one graph is from PyTorch.

    Attributes:
        logits_db: Logits SQNR, decibels; infinite where equal.
        embedding_db: Embedding SQNR, decibels.
        required_db: The tolerance.
    """

    logits_db: float
    embedding_db: float
    required_db: float


def check_step(
    graph: bytes, *, step: str, feed: Pixels | Floats, golden: Golden, required_db: float, as_written: bool = True
) -> Check:
    """Run a graph in onnxruntime and compare it with PyTorch's outputs.

    Args:
        graph: A serialised ONNX model.
        step: Name of the export step that made it, for the message.
        feed: The golden images as the graph's input.
        golden: PyTorch's outputs for them.
        required_db: Least SQNR of logits and embedding, decibels.
        as_written: Keep onnxruntime from fusing nodes, which would check another graph. A finished graph is run
            fused, as a user runs it, but for Q/DQ: they are computed as written, not by this machine's integer
            kernels.

    Raises:
        VerificationError: An output is not finite or differs by more than the tolerance.
    """
    logits, embedding = _run(graph, feed, as_written=as_written)
    check = Check(
        logits_db=_compare(step, "logits", golden.logits, logits),
        embedding_db=_compare(step, "embedding", golden.embedding, embedding),
        required_db=required_db,
    )
    worst, name = min((check.logits_db, "logits"), (check.embedding_db, "embedding"))
    if not worst >= required_db:
        raise VerificationError(
            f"step {step}: output {name} has {worst:.1f} dB SQNR against PyTorch, expected at least "
            f"{required_db:.1f} dB: no bundle is written; please report this model and the tool versions"
        )
    return check


def _run(graph: bytes, feed: Pixels | Floats, *, as_written: bool) -> tuple[Floats, Floats]:
    # Integer kernels that saturate are for `run-ssl verify` to find in an engine; here the graph is judged. The export
    # goes on in the other thread meanwhile; more threads here would only take its core.
    session = open_session(graph, fusion="none" if as_written else "float", threads=1)
    logits, embedding = session.run(["logits", "embedding"], {session.get_inputs()[0].name: feed})
    return logits, embedding


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
