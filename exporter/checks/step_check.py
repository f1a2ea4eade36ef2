"""Compare a graph with PyTorch after every step, on real images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from calibration.graph.without_weights import NO_WEIGHTS, Weights
from exporter.checks.as_written import open_as_written
from exporter.checks.golden import named_outputs
from runtime.bundle.bundle import Golden
from runtime.engines.contract import run_batches
from runtime.engines.ort_session import open_session
from runtime.errors import VerificationError
from runtime.support.arrays import Floats, Pixels
from runtime.support.paired_statistics import sqnr_db

Tolerance = Mapping[str, float]
"""Output name to the least SQNR that it may have against PyTorch, decibels."""

# What to do about a step that may differ only by float32 rounding.
REPORT = "please report this model and the tool versions"


@dataclass(frozen=True)
class Check:
    """How far one graph is from PyTorch.

    Attributes:
        reached: Output name to its SQNR, decibels; infinite where equal.
        required: The tolerance, for the same outputs.
    """

    reached: Mapping[str, float]
    required: Tolerance

    @property
    def worst(self) -> str:
        """Name of the output that is furthest below its tolerance, or the least above it."""
        return min(self.reached, key=lambda name: self.reached[name] - self.required[name])


def check_step(
    graph: bytes,
    *,
    step: str,
    feed: Pixels | Floats,
    golden: Golden,
    required: Tolerance,
    weights: Weights = NO_WEIGHTS,
    as_written: bool = True,
    advice: str = REPORT,
) -> Check:
    """Run a graph in onnxruntime and compare it with PyTorch's outputs.

    Args:
        graph: A serialised ONNX model.
        step: Name of the export step that made it, for the message.
        feed: The golden images as the graph's input.
        golden: PyTorch's outputs for them.
        required: What each output must reach.
        weights: Large constants that stand outside the graph, by name.
        as_written: Keep onnxruntime from fusing nodes, which would check another graph. A finished graph is run
            fused, as a user runs it, but for Q/DQ: they are computed as written, not by this machine's integer
            kernels.
        advice: What a user can do where the graph differs, for the message.

    Raises:
        VerificationError: An output is not finite or differs by more than its tolerance.
    """
    references = named_outputs(golden.logits, golden.embedding)
    found = _run(graph, feed, tuple(references), weights=weights, as_written=as_written)
    reached = {name: _compare(step, name, reference, found[name]) for name, reference in references.items()}
    check = Check(reached, {name: required[name] for name in references})
    name = check.worst
    # Written so that a tolerance that is no number is not met.
    if not all(reached[one] >= check.required[one] for one in reached):
        raise VerificationError(
            f"step {step}: output {name} has {reached[name]:.1f} dB SQNR against PyTorch, expected at least "
            f"{check.required[name]:.1f} dB: no bundle is written; {advice}"
        )
    return check


def _run(
    graph: bytes, feed: Pixels | Floats, outputs: tuple[str, ...], *, weights: Weights, as_written: bool
) -> dict[str, Floats]:
    # The export goes on in the other thread meanwhile; more threads here would only take its core.
    if as_written:
        run, images = open_as_written(onnx.load_from_string(graph), weights=weights, threads=1)
        return dict(zip(outputs, run_batches(lambda part: run(outputs, part), feed, images), strict=True))
    # Integer kernels that saturate are for `run-ssl verify` to find in an engine; here the graph is judged.
    session = open_session(graph, weights=weights, fusion="float", threads=1)
    given = session.get_inputs()[0]
    # A number where the batch is fixed, else the dimension's name.
    batch = given.shape[0]
    found = run_batches(
        lambda part: session.run(list(outputs), {given.name: part}), feed, batch if isinstance(batch, int) else None
    )
    return dict(zip(outputs, found, strict=True))


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
