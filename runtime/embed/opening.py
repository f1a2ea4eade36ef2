"""How a request's pieces are worked on, here or in a worker of Ray: the engine, and what is around it."""

import functools
from collections.abc import Callable

from PIL import Image

from runtime.bundle.bundle import Bundle
from runtime.bundle.manifest import Preprocessing, with_choices
from runtime.data.sources.entries import Source
from runtime.embed.output.identity import Job
from runtime.embed.request import EmbedRequest
from runtime.embed.run_parts import Place
from runtime.engines.contract import Engine
from runtime.engines.open_engine import EngineOptions, load_engine, parse_engine
from runtime.images.native import NativePreprocessor
from runtime.images.preprocessing import preprocess
from runtime.support.arrays import Pixels
from runtime.support.cpu import usable_cores


def engine_options(request: EmbedRequest) -> EngineOptions:
    """Return what a request's engine is told beside its name, in which its precision and the like stand."""
    return EngineOptions(threads=request.threads, device=request.device, weights=request.weights, share_cores=True)


def open_engine(request: EmbedRequest, bundle: Bundle) -> Engine:
    """Return the engine that a request asks for.

    Raises:
        UsageError: There is no such engine or precision.
        EngineError: The engine cannot run on this machine.
    """
    choice = parse_engine(request.engine)
    return load_engine(bundle, choice.name, choice.applied_to(engine_options(request)))


def contract_of(request: EmbedRequest, bundle: Bundle) -> Preprocessing:
    """Return the bundle's preprocessing, with what the request chooses in its place."""
    return with_choices(bundle.manifest.preprocessing, exif_rotate=request.exif_rotate, depth16=request.depth16)


def transform_of(request: EmbedRequest, bundle: Bundle) -> Callable[[Image.Image], Pixels]:
    """Return what makes the network's pixels from a picture.

    Raises:
        UsageError: The C library cannot be loaded.
    """
    contract = contract_of(request, bundle)
    if request.native is not None:
        return NativePreprocessor(request.native, contract)
    return functools.partial(preprocess, preprocessing=contract)


def describe_place(request: EmbedRequest, bundle: Bundle, *, job: Job, source: Source, engine: Engine) -> Place:
    """Return where and how a request's pieces are worked on."""
    return Place(
        output=request.output,
        job=job,
        labels=bundle.labels(),
        source=source,
        engine=engine,
        preprocessing=contract_of(request, bundle),
        transform=transform_of(request, bundle),
        workers=request.workers or usable_cores(),
        # On a CPU, decoding beside inference stalls it; a GPU leaves the cores to the decoders.
        overlap=engine.runs_on_gpu,
    )
