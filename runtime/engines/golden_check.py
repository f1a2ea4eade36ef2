"""How near an engine comes to the original on a bundle's golden images, and what the figure means."""

import math
from dataclasses import dataclass, replace

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.bundle.manifest import Precision
from runtime.engines.contract import Engine, Outputs
from runtime.errors import EngineError
from runtime.support.paired_statistics import sqnr_db

# bfloat16 keeps 8 bits of mantissa: about 40 to 50 dB on these networks, FP16 60 to 70.
_REDUCED_PRECISION_DB = 25.0


@dataclass(frozen=True)
class EngineCheck:
    """One engine on the golden images.

    Attributes:
        engine: Engine name.
        precision: What it executes, in words; empty where it could not be opened.
        logits_db: Logits SQNR against PyTorch, decibels; -infinity where an output is not finite, None without a
            classifier.
        embedding_db: Embedding SQNR, likewise.
        same_top1: Golden images with PyTorch's top-1 class; None without a classifier.
        images: Golden images.
        required_db: The manifest's tolerance for what the engine executes.
        meaning: What the figures mean, for a person.
    """

    engine: str
    precision: str
    logits_db: float | None
    embedding_db: float
    same_top1: int | None
    images: int
    required_db: float
    meaning: str

    @property
    def passed(self) -> bool:
        """Whether all outputs are within the tolerance."""
        return self.worst_db >= self.required_db

    @property
    def worst_db(self) -> float:
        """The least SQNR of all outputs, decibels."""
        return self.embedding_db if self.logits_db is None else min(self.logits_db, self.embedding_db)


def check_golden(bundle: Bundle, engine: Engine) -> EngineCheck:
    """Return how near an opened engine's outputs on the golden images are to PyTorch's.

    Raises:
        EngineError: The engine cannot run, or gives an image other outputs alone than in a batch.
    """
    golden, required_db = bundle.golden(), tolerance_db(bundle.manifest.precision, engine)
    outputs, executed = _run(engine, bundle), engine.precision
    logits_db = same = None
    if bundle.manifest.model.classes:
        logits_db = sqnr_db(golden.logits, outputs.logits)
        same = int(np.count_nonzero(outputs.logits.argmax(axis=1) == golden.logits.argmax(axis=1)))
    check = EngineCheck(
        engine=engine.name,
        precision=executed,
        logits_db=logits_db,
        embedding_db=sqnr_db(golden.embedding, outputs.embedding),
        same_top1=same,
        images=len(golden.pixels),
        required_db=required_db,
        meaning="",
    )
    if adds_up_in_fp16(engine) and not check.passed:
        return replace(check, meaning=_explain_fp16_sums(bundle.manifest.precision, engine))
    return replace(check, meaning=explain_difference(check.worst_db, required_db, executed=executed))


def adds_up_in_fp16(engine: Engine) -> bool:
    """Return whether the sums inside an engine's layers are FP16 too: those of FP16 kernels on a CPU are.

    What a GPU's kernels add up in, no engine says: those of tensor cores add up in FP32.
    """
    executed = engine.precision.rpartition(" weights, ")[2].removesuffix(" execution")
    return executed == "fp16" and not engine.runs_on_gpu


def tolerance_db(precision: Precision, engine: Engine) -> float:
    """Return what every output of an opened engine must reach, decibels."""
    if precision.fp16_sums is None or not adds_up_in_fp16(engine):
        return precision.min_sqnr_db
    emulated = precision.fp16_sums.min_sqnr_db
    return precision.min_sqnr_db if emulated is None else min(emulated, precision.min_sqnr_db)


def _explain_fp16_sums(precision: Precision, engine: Engine) -> str:
    """Return why an engine with FP16 sums fails, and what to run instead."""
    sums = precision.fp16_sums
    reason = "they were not emulated when this bundle was exported"
    if sums is not None:
        layers = ", ".join(sums.losing_most)
        reason = f"{'they overflow' if sums.min_sqnr_db is None else 'they lose most'} in {layers}"
    return (
        f"it adds up in FP16, too coarsely for this bundle ({reason}): use {engine.name}:fp32, which computes in FP32"
    )


def _run(engine: Engine, bundle: Bundle) -> Outputs:
    """Run the golden images one by one and together; the two must not differ by more than rounding."""
    pixels = bundle.golden().pixels
    together = Outputs(*(array.copy() for array in engine.infer(pixels)))
    alone = engine.infer(pixels[:1])
    difference = sqnr_db(together.judged[:1], alone.judged)
    # NaN equals nothing, itself included: it is an overflow, and no sign of a broken batch.
    finite = np.isfinite(together.judged[:1]).all() and np.isfinite(alone.judged).all()
    if finite and difference < bundle.manifest.precision.min_sqnr_db:
        raise EngineError(
            f"the same image gives different outputs alone and in a batch of {len(pixels)} ({difference:.1f} dB): "
            "this engine does not handle the dynamic batch of this graph; do not use it with this bundle"
        )
    return together


def explain_difference(decibels: float, required_db: float, *, executed: str) -> str:
    """Return what an SQNR against the golden outputs means, in one sentence."""
    if decibels >= required_db:
        return "equal to the original within rounding"
    if decibels == -math.inf:
        return "NaN or infinity: arithmetic overflows in this engine; use the FP32 bundle or another engine"
    if decibels > _REDUCED_PRECISION_DB:
        return (
            f"more than rounding: it executes {executed}, a reduced precision, or optimises in a way that "
            "is not exact; compare accuracy with `run-ssl compare` before using it"
        )
    return "another function: this engine runs the graph wrongly; do not use it with this bundle, and report it"
