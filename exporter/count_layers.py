"""Count what every node of a graph costs: MACs, bytes, precision."""

import math

import onnx_ir as ir

from runtime.errors import GraphError
from runtime.layers import Layer

_PRECISIONS = {
    ir.DataType.FLOAT: "fp32",
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "uint8",
    ir.DataType.INT64: "int64",
}

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def count_layers(model: ir.Model) -> tuple[Layer, ...]:
    """Return one `Layer` per node, in graph order, counted for one image.

    Args:
        model: A graph with the type and shape of every tensor; only the first dimension is dynamic.

    Raises:
        GraphError: A tensor has no shape, or an element type that this project does not write.
    """
    return tuple(_layer(node) for node in model.graph)


def _layer(node: ir.Node) -> Layer:
    output = node.outputs[0]
    constants = [value for value in node.inputs if value is not None and value.const_value is not None]
    variables = [value for value in node.inputs if value is not None and value.const_value is None]
    return Layer.model_validate(
        {
            "name": node.name,
            "operator": node.op_type,
            "output": output.name,
            "output_shape": _image_shape(output),
            "parameters": sum(math.prod(_dims(value)) for value in constants if value.dtype in _FLOATS),
            "macs": count_macs(node),
            "weight_bytes": sum(_bytes(value) for value in constants),
            "activation_bytes": sum(_bytes(value) for value in (*variables, *node.outputs)),
            "precision": _precision(output),
        }
    )


def count_macs(node: ir.Node) -> int:
    """Return the multiply-accumulates of a node for one image.

    Conv: K * (C / group) * R * S for each output pixel. Gemm: rows * columns of its weight. Biases
    and every other operator count nothing, as in `torch.utils.flop_counter`, which counts 2 FLOPs
    per MAC.
    """
    shape = _weight_shape(node)
    if not shape:
        return 0
    pixels = math.prod(_image_shape(node.outputs[0])[1:]) if node.op_type == "Conv" else 1
    return math.prod(shape) * pixels


def reduction_length(node: ir.Node) -> int:
    """Return how many products a Conv or Gemm sums for one output value; 0 for other nodes."""
    shape = _weight_shape(node)
    if not shape:
        return 0
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return shape[0]
    return math.prod(shape[1:])


def _weight_shape(node: ir.Node) -> tuple[int, ...]:
    """Return the shape of a Conv's or Gemm's weight; empty for other nodes."""
    if node.op_type not in {"Conv", "Gemm"}:
        return ()
    weight = node.inputs[1]
    assert weight is not None
    return _dims(weight)


def _dims(value: ir.Value) -> tuple[int, ...]:
    if value.shape is None:
        raise GraphError(f"tensor {value.name} has no shape: run shape inference first")
    return tuple(int(dim) if isinstance(dim, int) else 1 for dim in value.shape)


def _image_shape(value: ir.Value) -> tuple[int, ...]:
    """Return the shape without the batch."""
    return _dims(value)[1:]


def _bytes(value: ir.Value) -> int:
    assert value.dtype is not None
    return math.prod(_dims(value)) * int(value.dtype.itemsize)


def _precision(value: ir.Value) -> str:
    if value.dtype not in _PRECISIONS:
        raise GraphError(
            f"tensor {value.name} has element type {value.dtype}: expected one of {sorted(_PRECISIONS.values())}"
        )
    return _PRECISIONS[value.dtype]
