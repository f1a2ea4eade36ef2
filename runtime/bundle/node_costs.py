"""What a Conv or Gemm node costs and computes in, read off the graph. onnx-ir is not imported: nodes bring it."""

import math
from typing import TYPE_CHECKING

from runtime.errors import GraphError

if TYPE_CHECKING:
    import onnx_ir as ir


def computes_in_int8(node: "ir.Node") -> bool:
    """Return whether both the data and the weight of a Conv, Gemm or MatMul come from DequantizeLinear."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return False
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return all(producer is not None and producer.op_type == "DequantizeLinear" for producer in producers)


def count_macs(node: "ir.Node") -> int:
    """Return the multiply-accumulates of a node for one image.

    Conv: K * (C / group) * R * S for each output pixel. Gemm: rows * columns of its weight. Biases
    and every other operator count nothing, as in `torch.utils.flop_counter`, which counts 2 FLOPs
    per MAC.

    Raises:
        GraphError: The weight or the output has no shape.
    """
    shape = _weight_shape(node)
    if not shape:
        return 0
    pixels = math.prod(image_shape(node.outputs[0])[1:]) if node.op_type == "Conv" else 1
    return math.prod(shape) * pixels


def reduction_length(node: "ir.Node") -> int:
    """Return how many products a Conv or Gemm sums for one output value; 0 for other nodes.

    Raises:
        GraphError: The weight has no shape.
    """
    shape = _weight_shape(node)
    if not shape:
        return 0
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return shape[0]
    return math.prod(shape[1:])


def known_shape(value: "ir.Value") -> tuple[int, ...]:
    """Return the shape of a tensor for one image: a dimension that is not fixed counts 1.

    Raises:
        GraphError: The tensor has no shape.
    """
    if value.shape is None:
        raise GraphError(f"tensor {value.name} has no shape: run shape inference first")
    return tuple(int(dim) if isinstance(dim, int) else 1 for dim in value.shape)


def image_shape(value: "ir.Value") -> tuple[int, ...]:
    """Return the shape of a tensor without its first dimension, the batch."""
    return known_shape(value)[1:]


def _weight_shape(node: "ir.Node") -> tuple[int, ...]:
    """Return the shape of a Conv's or Gemm's weight; empty for other nodes."""
    if node.op_type not in {"Conv", "Gemm"}:
        return ()
    weight = node.inputs[1]
    assert weight is not None
    return known_shape(weight)
