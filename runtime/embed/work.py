"""How a request's pieces are worked on, here or in a worker of Ray: the engine, and what is around it."""

import functools

from runtime.bundle import Bundle
from runtime.embed.entries import Source
from runtime.embed.identity import Job
from runtime.embed.request import EmbedRequest
from runtime.embed.run_parts import Place
from runtime.engine import Engine
from runtime.load import TENSORRT, EngineOptions, load_engine, parse_engine
from runtime.loader import usable_cores
from runtime.native_preprocessing import NativePreprocessor
from runtime.preprocessing import preprocess


def open_engine(request: EmbedRequest, bundle: Bundle) -> Engine:
    """Return the engine that a request asks for.

    Raises:
        UsageError: There is no such engine or precision.
        EngineError: It cannot run here.
    """
    choice = parse_engine(request.engine)
    options = EngineOptions(
        threads=request.threads,
        precision=choice.precision,
        provider=choice.provider,
        device=request.device,
        weights=request.weights,
        share_cores=True,
    )
    return load_engine(bundle, choice.name, options)


def describe_place(request: EmbedRequest, bundle: Bundle, *, job: Job, source: Source, engine: Engine) -> Place:
    """Return where and how a request's pieces are worked on."""
    contract = bundle.manifest.preprocessing
    native = NativePreprocessor(request.native, contract) if request.native else None
    return Place(
        output=request.output,
        job=job,
        labels=bundle.labels(),
        source=source,
        engine=engine,
        transform=native or functools.partial(preprocess, preprocessing=contract),
        workers=usable_cores() if request.workers is None else request.workers,
        # On a CPU, decoding beside inference stalls it; a GPU leaves the cores to the decoders.
        overlap=request.device == "gpu" or engine.name == TENSORRT,
    )
