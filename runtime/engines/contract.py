"""What every engine is: pixels in, logits and embedding out; the embedding alone where there is no classifier.

One file per engine (`pytorch_engine.py`, `ort_engine.py`, `openvino_engine.py`, `trt/trt_engine.py`) implements this
protocol; each imports its heavy package inside the function that opens it.
"""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Protocol

import numpy as np
from typing_extensions import Self

from runtime.bundle.manifest import Manifest
from runtime.errors import EngineError
from runtime.images.preprocessing import normalise
from runtime.support.arrays import Feed, Floats, Pixels
from runtime.support.words import counted

ExecutionPrecision = Literal["fp32", "bf16", "fp16"]
# When kernels are compiled for a batch size that comes: behind its first calls, before the first returns, or never.
Specialisation = Literal["lazy", "eager", "none"]


class Outputs(NamedTuple):
    """Outputs of one batch.

    Attributes:
        logits: Class scores before softmax, (N, classes) float32; (N, 0) from a network without a classifier.
        embedding: Pooled features, (N, embedding_dim) float32.
    """

    logits: Floats
    embedding: Floats

    @property
    def judged(self) -> Floats:
        """The output that accuracy depends on: the logits, or the embedding where there are none."""
        return self.logits if self.logits.shape[1] else self.embedding


def read_outputs(arrays: Sequence[Floats]) -> Outputs:
    """Return the outputs of a batch from the arrays that a network gives.

    Args:
        arrays: One for each output in the manifest, in its order: logits and embedding, or the embedding alone.
    """
    *scores, embedding = arrays
    return Outputs(scores[0] if scores else np.empty((len(embedding), 0), np.float32), embedding)


def checked_outputs(arrays: Sequence[Floats], manifest: Manifest, *, images: int) -> Outputs:
    """Return the outputs of a batch from the arrays that a bundle's network gives, if they are what its manifest says.

    Args:
        arrays: Logits and embedding, or the embedding alone, in the order of the manifest.
        manifest: The bundle's manifest.
        images: Number of images in the batch.

    Raises:
        EngineError: An array has another shape or type than the manifest says.
    """
    for array, spec in zip(arrays, manifest.outputs, strict=True):
        expected = (images, *spec.shape[1:])
        if array.shape != expected or array.dtype != np.float32:
            raise EngineError(
                f"the network's {spec.name} is {array.shape} {array.dtype}, expected {expected} float32 as the "
                "manifest says: export the bundle again"
            )
    return read_outputs(arrays)


class Engine(Protocol):
    """An opened network.

    Attributes:
        name: `pytorch`, `onnxruntime`, `openvino`, `tensorrt` or `tensorrt-rtx`.
        precision: What it really executes, in words, such as `fp32` or
            `fp16 weights, fp32 execution`; asked of the engine, not assumed from the file.
        runs_on_gpu: Whether it leaves the processor's cores to others while it works.
    """

    name: str
    precision: str
    runs_on_gpu: bool

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch. Any number of threads may call one engine at the same time.

        The arrays returned are the caller's own. A graph of a fixed batch is run as often as the images need, and its
        last batch is filled up.

        Args:
            pixels: Images as `runtime.images.preprocessing` makes them, (N, H, W, C) uint8, N >= 1.

        Raises:
            EngineError: The shape or dtype is not the one that the bundle states.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Calling it twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_pixels(pixels: Pixels, manifest: Manifest) -> None:
    """Refuse anything but (N, H, W, C) uint8 with N >= 1.

    Raises:
        EngineError: The shape or dtype is another.
    """
    shape = manifest.preprocessing.pixels_shape
    sizes = ", ".join(map(str, shape))
    if not isinstance(pixels, np.ndarray):
        raise EngineError(
            f"pixels are a {type(pixels).__name__}, expected a NumPy array (N, {sizes}) uint8: stack the images with "
            "numpy.stack"
        )
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape or not len(pixels):
        raise EngineError(
            f"pixels are {pixels.shape} {pixels.dtype}, expected (N, {sizes}) uint8 with N >= 1: "
            "make them with runtime.images.preprocessing.preprocess"
        )


def network_input(pixels: Pixels, manifest: Manifest) -> Pixels | Floats:
    """Return what the graph takes: the pixels, or for a float input the normalised NCHW batch.

    Raises:
        EngineError: The pixels' shape or dtype is not (N, H, W, C) uint8 with N >= 1.
    """
    check_pixels(pixels, manifest)
    if manifest.input.dtype == "uint8":
        return np.ascontiguousarray(pixels)
    return normalise(pixels, manifest.preprocessing)


def split_batches(images: Feed, batch: int) -> Iterator[tuple[Feed, int]]:
    """Yield batches of one size, the last one filled up with zeros, and how many images each one holds.

    Args:
        images: (N, ...), any dtype.
        batch: Images of a batch.
    """
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        held = len(part)
        if held < batch:
            part = np.concatenate([part, np.zeros((batch - held, *part.shape[1:]), part.dtype)])
        yield part, held


def run_batches(run: Callable[[Feed], Sequence[Floats]], images: Feed, fixed_batch: int | None) -> list[Floats]:
    """Return the outputs of a network for any number of images, whatever number its graph takes.

    Args:
        run: Runs the graph once.
        images: Input of the graph, (N, ...), N >= 1.
        fixed_batch: How many images the graph takes; None for any number.
    """
    if fixed_batch is None:
        return list(run(images))
    parts = [[array[:held] for array in run(part)] for part, held in split_batches(images, fixed_batch)]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


class EngineBase:
    """What the engines share: the check of the input, and closing at the end of a `with` block."""

    name: str
    precision: str
    runs_on_gpu: bool

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def check_pixels(self, pixels: Pixels) -> None:
        """Refuse pixels that are not the bundle's; see `check_pixels`."""
        check_pixels(pixels, self.manifest)

    def network_input(self, pixels: Pixels) -> Pixels | Floats:
        """Return what the graph takes; see `network_input`."""
        return network_input(pixels, self.manifest)

    def run_graph(self, run: Callable[[Feed], Sequence[Floats]], pixels: Pixels) -> Outputs:
        """Return the outputs of pixels from what runs the graph once on an input that it takes.

        Raises:
            EngineError: The engine cannot run the graph, or the graph gives other outputs than the manifest says.
        """
        images = self.network_input(pixels)
        try:
            arrays = run_batches(run, images, self.manifest.fixed_batch)
        except EngineError:
            raise
        # onnxruntime's errors have no class of their own below Exception.
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise EngineError(
                f"{self.name} cannot run {counted(len(images), 'image')} through this graph: {reason}; pass fewer "
                "images at once, or export the bundle again"
            ) from error
        return checked_outputs(arrays, self.manifest, images=len(images))

    def close(self) -> None:
        """Free what the engine holds."""
        raise AssertionError("every engine closes itself")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def describe_precision(stored: str, executed: str) -> str:
    """Return the precision in words: one if file and execution agree, else both.

    Args:
        stored: Precision in the graph.
        executed: Precision that the kernels compute in. Where it is wider than the stored one, the
            engine proves nothing about range: a value that would overflow does not.
    """
    if stored.partition("-")[0] == executed:
        return stored
    return f"{stored} weights, {executed} execution"


def shorten_precision(described: str) -> str:
    """Return `describe_precision` for a narrow column: `fp32, not fp16` where file and execution differ."""
    stored, differs, executed = described.partition(" weights, ")
    return f"{executed.removesuffix(' execution')}, not {stored}" if differs else described
