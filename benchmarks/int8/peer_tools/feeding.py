"""What the tools' files share: the graph's input, batch by batch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

Floats = npt.NDArray[np.float32]
BATCH = 8


def input_name(model: Path) -> str:
    """Return the name of a graph's one input."""
    graph = onnx.load(model, load_external_data=False).graph
    return str(graph.input[0].name)


def batches(images: Floats, *, size: int = BATCH) -> Iterator[Floats]:
    """Give images (N, 3, H, W) in batches, the last one smaller where they do not divide."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def feeds(name: str, images: Floats, *, size: int = BATCH) -> list[dict[str, Floats]]:
    """Return the same batches by the input's name."""
    return [{name: batch} for batch in batches(images, size=size)]
