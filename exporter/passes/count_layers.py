"""Count what every node of a graph costs: MACs, bytes, precision."""

import math

import onnx_ir as ir

from runtime.bundle.layers import Layer
from runtime.bundle.node_costs import computes_in_int8, count_macs, image_shape, known_shape
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
            "output_shape": image_shape(output),
            "parameters": sum(math.prod(known_shape(value)) for value in trained if value.dtype in _TRAINED),
            "macs": count_macs(node),
            "weight_bytes": sum(_bytes(value) for value in constants),
            "activation_bytes": sum(_bytes(value) for value in (*variables, *node.outputs)),
            "precision": "int8" if computes_in_int8(node) else _precision(output),
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


def _bytes(value: ir.Value) -> int:
    assert value.dtype is not None
    return math.prod(known_shape(value)) * int(value.dtype.itemsize)


def _precision(value: ir.Value) -> str:
    if value.dtype not in _PRECISIONS:
        raise GraphError(
            f"tensor {value.name} has element type {value.dtype}: expected one of {sorted(_PRECISIONS.values())}"
        )
    return _PRECISIONS[value.dtype]
