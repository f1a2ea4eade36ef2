"""Let a device check a bundle by itself: hashes, schema, licence, and the golden outputs on every engine."""

import math

from runtime.bundle.bundle import Bundle
from runtime.bundle.licence import check_licence
from runtime.engines.golden_check import EngineCheck, check_golden
from runtime.engines.open_engine import EngineChoice, EngineOptions, load_engine, parse_engine, runnable_engines
from runtime.errors import EngineError


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


def _check_engine(bundle: Bundle, choice: EngineChoice, *, threads: int | None) -> EngineCheck:
    options = choice.applied_to(EngineOptions(threads=threads))
    try:
        with load_engine(bundle, choice.name, options) as engine:
            return check_golden(bundle, engine)
    except EngineError as error:
        classifies = bundle.manifest.model.classes > 0
        images, required_db = len(bundle.manifest.golden), bundle.manifest.precision.min_sqnr_db
        return EngineCheck(
            engine=choice.name,
            precision="",
            logits_db=-math.inf if classifies else None,
            embedding_db=-math.inf,
            same_top1=0 if classifies else None,
            images=images,
            required_db=required_db,
            meaning=str(error),
        )
