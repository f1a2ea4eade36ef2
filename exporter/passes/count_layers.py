"""Count what every node of a graph costs: MACs, bytes, precision."""

import math

import onnx_ir as ir

from runtime.bundle.layers import Layer
from runtime.errors import GraphError

_PRECISIONS = {
    ir.DataType.FLOAT: "fp32",
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.INT8: "int8",
    ir.DataType.UINT8: "uint8",
    ir.DataType.INT64: "int64",
}

# INT64 constants are shapes and axes. Scales and zero points are no parameters of the network.
_TRAINED = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.INT8)
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


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
    inputs = [value for value in node.inputs if value is not None]
    if _stored_weight(output) is not None:
        inputs = []  # counted by the layer behind it
    stored = [_stored_weight(value) or value for value in inputs]
    constants = [value for value in stored if value.const_value is not None]
    variables = [value for value in inputs if value not in constants and _stored_weight(value) is None]
    trained = () if node.op_type in _QDQ else constants
    return Layer.model_validate(
        {
            "name": node.name,
            "operator": node.op_type,
            "output": output.name,
            "output_shape": _image_shape(output),
            "parameters": sum(math.prod(_dims(value)) for value in trained if value.dtype in _TRAINED),
            "macs": count_macs(node),
            "weight_bytes": sum(_bytes(value) for value in constants),
            "activation_bytes": sum(_bytes(value) for value in (*variables, *node.outputs)),
            "precision": "int8" if _computes_in_int8(node) else _precision(output),
        }
    )


def _stored_weight(value: ir.Value) -> ir.Value | None:
    """Return the constant behind a weight's DequantizeLinear (and QuantizeLinear); None for anything else."""
    producer = value.producer()
    while producer is not None and producer.op_type in _QDQ:
        source = producer.inputs[0]
        assert source is not None
        if source.const_value is not None:
            return source
        producer = source.producer()
    return None


def _computes_in_int8(node: ir.Node) -> bool:
    """Return whether both the data and the weight of a Conv or Gemm come from DequantizeLinear."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return False
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return all(producer is not None and producer.op_type == "DequantizeLinear" for producer in producers)


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
