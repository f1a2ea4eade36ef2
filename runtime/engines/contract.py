"""What every engine is: pixels in, logits and embedding out.

One file per engine (`pytorch_engine.py`, `ort_engine.py`, `openvino_engine.py`, `trt/trt_engine.py`) implements this
protocol; each imports its heavy package inside the function that opens it.
"""

from types import TracebackType
from typing import Literal, NamedTuple, Protocol

import numpy as np
from typing_extensions import Self

from runtime.bundle.manifest import Manifest
from runtime.errors import EngineError
from runtime.images.preprocessing import normalise
from runtime.support.arrays import Floats, Pixels

ExecutionPrecision = Literal["fp32", "bf16", "fp16"]
# When kernels are compiled for a batch size that comes: behind its first calls, before the first returns, or never.
Specialisation = Literal["lazy", "eager", "none"]


class Outputs(NamedTuple):
    """Outputs of one batch.

    Attributes:
        logits: Class scores before softmax, (N, classes) float32.
        embedding: Pooled features, (N, embedding_dim) float32.
    """

    logits: Floats
    embedding: Floats


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

        The arrays returned are the caller's own.

        Args:
            pixels: RGB images as `runtime.images.preprocessing` makes them, (N, H, W, 3) uint8, N >= 1.

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
    """Refuse anything but (N, H, W, 3) uint8 with N >= 1.

    Raises:
        EngineError: The shape or dtype is another.
    """
    size = manifest.preprocessing.image_size
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3) or not len(pixels):
        raise EngineError(
            f"pixels are {pixels.shape} {pixels.dtype}, expected (N, {size}, {size}, 3) uint8 with N >= 1: "
            "make them with runtime.images.preprocessing.preprocess"
        )


def network_input(pixels: Pixels, manifest: Manifest) -> Pixels | Floats:
    """Return what the graph takes: the pixels, or for a float input the normalised NCHW batch.

    Raises:
        EngineError: The pixels' shape or dtype is not (N, H, W, 3) uint8 with N >= 1.
    """
    check_pixels(pixels, manifest)
    if manifest.input.dtype == "uint8":
        return np.ascontiguousarray(pixels)
    return normalise(pixels, manifest.preprocessing)


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
