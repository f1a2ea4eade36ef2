"""Let a device check a bundle by itself: hashes, schema, licence, and the golden outputs on every engine."""

import math
from dataclasses import dataclass

import numpy as np

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import LICENCE_FILE
from runtime.engines.contract import Engine, Outputs
from runtime.engines.open_engine import EngineChoice, EngineOptions, load_engine, parse_engine, runnable_engines
from runtime.errors import BundleError, EngineError
from runtime.support.paired_statistics import sqnr_db

# Weights of these families are under CC-BY-NC-4.0, and every artefact must say so.
_NON_COMMERCIAL_TAGS = ("fb_ssl_", "fb_swsl_")
NON_COMMERCIAL = "CC-BY-NC-4.0"

# bfloat16 keeps 8 bits of mantissa: about 40 to 50 dB on these networks, FP16 60 to 70.
_REDUCED_PRECISION_DB = 25.0


@dataclass(frozen=True)
class EngineCheck:
    """One engine on the golden images.

    Attributes:
        engine: Engine name.
        precision: What it executes, in words; empty where it could not be opened.
        logits_db: Logits SQNR against PyTorch, decibels; -infinity where an output is not finite.
        embedding_db: Embedding SQNR, likewise.
        same_top1: Golden images with PyTorch's top-1 class.
        images: Golden images.
        required_db: The manifest's tolerance.
        meaning: What the figures mean, for a person.
    """

    engine: str
    precision: str
    logits_db: float
    embedding_db: float
    same_top1: int
    images: int
    required_db: float
    meaning: str

    @property
    def passed(self) -> bool:
        """Whether both outputs are within the tolerance."""
        return min(self.logits_db, self.embedding_db) >= self.required_db


def verify_bundle(bundle: Bundle, engines: tuple[str, ...], *, threads: int | None = None) -> tuple[EngineCheck, ...]:
    """Check the licence and run the golden images on the engines.

    Args:
        bundle: A bundle opened by `open_bundle`, which has checked its schema and hashes.
        engines: `NAME`, `NAME:PRECISION` or `onnxruntime:PROVIDER` of the engines to run; empty for all that are
            installed, TensorRT included where the bundle has a plan.
        threads: Threads for one inference; None leaves the engines' choice.

    Raises:
        BundleError: The licence is missing, or not the one that these weights have.
        UsageError: An engine's name or precision is unknown.
        EngineError: No engine is installed.
    """
    check_licence(bundle)
    chosen = engines or runnable_engines(bundle)
    if not chosen:
        raise EngineError("no engine is installed: pip install 'export-ssl[cpu]', or 'export-ssl[gpu]' for NVIDIA")
    return tuple(_check_engine(bundle, parse_engine(text), threads=threads) for text in chosen)


def check_licence(bundle: Bundle) -> None:
    """Refuse a bundle that does not carry its weights' licence.

    Raises:
        BundleError: The licence file does not name the manifest's licence, or an ssl or swsl network
            has another licence than CC-BY-NC-4.0.
    """
    licence, tag = bundle.manifest.licence, bundle.manifest.model.timm_tag or ""
    if any(family in tag for family in _NON_COMMERCIAL_TAGS) and licence.spdx != NON_COMMERCIAL:
        raise BundleError(
            f"{bundle.path}: the manifest says {licence.spdx}, but weights of {tag} are under {NON_COMMERCIAL}: "
            "export the bundle again"
        )
    text = (bundle.path / LICENCE_FILE).read_text(encoding="utf-8")
    if f"SPDX-License-Identifier: {licence.spdx}" not in text:
        raise BundleError(
            f"{bundle.path / LICENCE_FILE} does not name {licence.spdx}, as the manifest does: export again"
        )


def _check_engine(bundle: Bundle, choice: EngineChoice, *, threads: int | None) -> EngineCheck:
    options = EngineOptions(threads=threads, precision=choice.precision, provider=choice.provider)
    try:
        with load_engine(bundle, choice.name, options) as engine:
            return check_golden(bundle, engine)
    except EngineError as error:
        images, required_db = len(bundle.manifest.golden), bundle.manifest.precision.min_sqnr_db
        return EngineCheck(choice.name, "", -math.inf, -math.inf, 0, images, required_db, str(error))


def check_golden(bundle: Bundle, engine: Engine) -> EngineCheck:
    """Return how near an opened engine's outputs on the golden images are to PyTorch's.

    Raises:
        EngineError: The engine cannot run, or gives an image other outputs alone than in a batch.
    """
    golden, required_db = bundle.golden(), bundle.manifest.precision.min_sqnr_db
    outputs, executed = _run(engine, bundle), engine.precision
    logits_db = sqnr_db(golden.logits, outputs.logits)
    embedding_db = sqnr_db(golden.embedding, outputs.embedding)
    same = int(np.count_nonzero(outputs.logits.argmax(axis=1) == golden.logits.argmax(axis=1)))
    meaning = explain_difference(min(logits_db, embedding_db), required_db, executed=executed)
    return EngineCheck(engine.name, executed, logits_db, embedding_db, same, len(golden.pixels), required_db, meaning)


def _run(engine: Engine, bundle: Bundle) -> Outputs:
    """Run the golden images one by one and together; the two must not differ by more than rounding."""
    pixels = bundle.golden().pixels
    together = Outputs(*(array.copy() for array in engine.infer(pixels)))
    alone = engine.infer(pixels[:1])
    difference = sqnr_db(together.logits[:1], alone.logits)
    # NaN equals nothing, itself included: it is an overflow, and no sign of a broken batch.
    finite = np.isfinite(together.logits[:1]).all() and np.isfinite(alone.logits).all()
    if finite and difference < bundle.manifest.precision.min_sqnr_db:
        raise EngineError(
            f"the same image gives other logits alone than in a batch of {len(pixels)} ({difference:.1f} dB): "
            "this engine breaks the dynamic batch of this graph; do not use it with this bundle"
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
            f"more than rounding: it executes {executed}; a reduced precision, or an optimisation of this engine's "
            "that is not exact; compare accuracy with `run-ssl compare` before using it"
        )
    return "another function: this engine runs the graph wrongly; do not use it with this bundle, and report it"
