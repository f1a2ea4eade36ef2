"""Exact minimum and maximum of every float tensor of an ONNX graph over real images.

The reductions are put into the graph, so that onnxruntime hands back two numbers per tensor. It may hold all
activations of a run until then, so the images are run one by one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from calibration.graph.without_weights import NO_WEIGHTS, Weights
from exporter.checks.as_written import open_as_written
from runtime.errors import GraphError

_LOW, _HIGH = "::min", "::max"


@dataclass(frozen=True)
class Range:
    """Smallest and largest value that a tensor took."""

    low: float
    high: float

    @property
    def amax(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high))


def measure_ranges(
    model: onnx.ModelProto, feed: npt.NDArray[np.generic], *, weights: Weights = NO_WEIGHTS
) -> dict[str, Range]:
    """Return the range of every float32 tensor that depends on the input.

    Args:
        model: A float32 graph with one input and inferred shapes; not changed.
        feed: One batch for it, with the input's own shape and dtype.
        weights: Large constants that stand outside the graph, by name.

    Raises:
        GraphError: A tensor holds NaN or infinity; the message names the first in graph order.
    """
    tensors = _float_tensors(model)
    # The tensors must be those of the graph as written, not of a fused one.
    run, _images = open_as_written(_with_reductions(model, tensors), weights=weights)
    names = [f"{tensor}{end}" for tensor in tensors for end in (_LOW, _HIGH)]
    values = np.array([run(names, feed[at : at + 1]) for at in range(len(feed))], np.float64)
    # NumPy's min and max hand NaN on.
    lows, highs = values[:, ::2].min(axis=0), values[:, 1::2].max(axis=0)
    ranges = {name: Range(float(low), float(high)) for name, low, high in zip(tensors, lows, highs, strict=True)}
    for name, found in ranges.items():
        if not np.isfinite(found.amax):
            raise GraphError(f"tensor {name} holds NaN or infinity in FP32: check the weights and the images")
    return ranges


def _float_tensors(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    typed = {info.name: info.type.tensor_type.elem_type for info in (*graph.input, *graph.value_info, *graph.output)}
    outputs = [name for node in graph.node for name in node.output]
    inputs = [value.name for value in graph.input]
    return [name for name in (*inputs, *outputs) if typed.get(name) == TensorProto.FLOAT]


def _with_reductions(model: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    del extended.graph.output[:]
    for tensor in tensors:
        for operator, end in (("ReduceMin", _LOW), ("ReduceMax", _HIGH)):
            extended.graph.node.append(helper.make_node(operator, [tensor], [tensor + end], keepdims=0))
            extended.graph.output.append(helper.make_tensor_value_info(tensor + end, TensorProto.FLOAT, []))
    return extended
