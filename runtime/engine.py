"""What every engine is: pixels in, logits and embedding out.

One file per engine (`engine_pytorch.py`, `engine_ort.py`, `engine_openvino.py`) implements this
protocol; each imports its heavy package inside the function that opens it.
"""

from types import TracebackType
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


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
        name: `pytorch`, `onnxruntime` or `openvino`.
        precision: What it really executes, in words, such as `fp32` or
            `fp16 weights, fp32 execution`; asked of the engine, not assumed from the file.
    """

    name: str
    precision: str

    def infer(self, pixels: Pixels) -> Outputs:
        """Run one batch.

        Args:
            pixels: RGB images as `runtime.preprocessing` makes them, (N, H, W, 3) uint8, N >= 1.

        Raises:
            EngineError: The shape or dtype is not the one that the bundle states.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Calling it twice is fine."""
        ...

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
