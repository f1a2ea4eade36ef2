"""From a subject to something that can be called: an engine with its input, a pipeline, or a peer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.bench.subjects import Subject
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import PLANS
from runtime.data.batches import load_batches
from runtime.data.open_images import open_images
from runtime.engines.contract import Engine
from runtime.engines.open_engine import EngineOptions, load_engine, parse_engine
from runtime.errors import UsageError
from runtime.support.arrays import Pixels

# Of the pictures that an engine is called with.
_SEED = 0


@dataclass(frozen=True)
class Runner:
    """Something to time.

    Attributes:
        call: One call.
        precision: What it really executes.
        notes: What a reader must know of the timer.
        call_timed: One call that measures itself, on the GPU's own clock; returns milliseconds. None for most.
    """

    call: Callable[[], object]
    precision: str
    notes: tuple[str, ...] = ()
    call_timed: Callable[[], float] | None = None


@contextmanager
def open_runner(subject: Subject) -> Iterator[Runner]:
    """Yield what a subject names, opened.

    Raises:
        ExportSslError: The subject cannot be opened.
    """
    bundle = open_bundle(subject.bundle)
    if subject.kind == "peer":
        from runtime.bench.peers.names import open_peer

        with open_peer(
            subject.engine, bundle, threads=subject.threads, weights=subject.weights, device=subject.device
        ) as peer:
            feed = peer.network_input(noise_pixels(bundle, subject.batch))
            yield Runner(lambda: peer.call(feed), peer.precision)
        return
    choice = parse_engine(subject.engine)
    options = EngineOptions(threads=subject.threads, device=subject.device, weights=subject.weights)
    with load_engine(bundle, choice.name, choice.applied_to(options)) as engine:
        if subject.scope == "end-to-end":
            yield _pipeline(subject, bundle, engine)
        elif subject.scope == "model" and choice.name in PLANS:
            yield _on_device(bundle, engine, subject.batch)
        else:
            yield _in_memory(bundle, engine, subject.batch)


def noise_pixels(bundle: Bundle, batch: int) -> Pixels:
    """Return a batch of random pixels, (batch, H, W, C) uint8: speed does not depend on what they show."""
    shape = bundle.manifest.preprocessing.pixels_shape
    return np.random.default_rng(_SEED).integers(0, 256, (batch, *shape), np.uint8)


def _in_memory(bundle: Bundle, engine: Engine, batch: int) -> Runner:
    pixels = noise_pixels(bundle, batch)
    notes: tuple[str, ...] = ()
    if bundle.manifest.input.dtype == "float32":
        notes = ("the normalisation on the host is inside the timer: the bundle's input is float32",)
    return Runner(lambda: engine.infer(pixels), engine.precision, notes)


def _on_device(bundle: Bundle, engine: Engine, batch: int) -> Runner:
    """Return a runner that times the kernels alone, with CUDA events around them."""
    from runtime.bench.cuda_timer import DeviceCall
    from runtime.engines.trt.trt_engine import TensorRtEngine

    assert isinstance(engine, TensorRtEngine)
    timer = DeviceCall(engine, engine.network_input(noise_pixels(bundle, batch)))
    notes = ("CUDA events, input and output on the GPU", *_first_call(engine.kernels_from))
    return Runner(timer.call, engine.precision, notes, timer.call_timed)


def _first_call(kernels_from: str | None) -> tuple[str, ...]:
    """Return what the first call of a plan did, where its library compiles at load; its time stands by itself."""
    if kernels_from is None:
        return ()
    if not kernels_from:
        return ("the first call compiled the plan's kernels; later processes take them from a file beside it",)
    return (f"kernels were taken from {Path(kernels_from).name}: where it is not there, the first call compiles them",)


def _pipeline(subject: Subject, bundle: Bundle, engine: Engine) -> Runner:
    """Return a runner whose call is one batch from files: reading, decoding, preprocessing, inference."""
    if subject.images is None:
        raise UsageError("--scope end-to-end needs --data FOLDER with images in class folders")
    dataset = open_images(str(subject.images), bundle.labels())
    if dataset.length is not None and dataset.length < subject.batch:
        raise UsageError(
            f"batch {subject.batch} is more than the {dataset.length} images of {subject.images}: pass a smaller "
            "--batch, or more images"
        )

    def batches() -> Iterator[Pixels]:
        while True:
            with load_batches(
                dataset,
                bundle.manifest.preprocessing,
                batch_size=subject.batch,
                workers=subject.threads,
                overlap=engine.runs_on_gpu,
            ) as loader:
                # The last batch of a pass may be smaller: its time would be another batch's.
                yield from (batch.pixels for batch in loader if len(batch.pixels) == subject.batch)

    source = batches()
    return Runner(
        lambda: engine.infer(next(source)),
        engine.precision,
        ("files are decoded ahead in groups, so single calls are short or long: their mean is what counts",),
    )
