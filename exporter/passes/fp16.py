"""Write FP16 into the graph, so that it means the same to every engine.

Rules:

1. Strongly typed: every tensor of the body is FP16, every constant that it uses too. Inputs and
   outputs keep their types; the casts are nodes of the graph.
2. The pixels' normalisation stays FP32 and is cast once: it is one fused elementwise kernel on any
   engine, and FP16 would round the mean and the standard deviation.
3. A tensor whose largest absolute value on the verification images is above `FP16_LIMIT` stays
   FP32, and so does every node that makes or takes it: the node computes in FP32 on casts of its
   other inputs. So does a node with a constant above FP16's largest number. They are named.
4. Weights that are not zero but round to zero in FP16 are counted, not hidden.
5. Around Q/DQ, scales become FP16 as every constant does: the calibration has rounded weights and
   activations against scales that FP16 holds exactly (`calibration.weights.scales.fp16_scales`).

Source: IEEE 754 binary16; NVIDIA's strong typing rules (precision is a property of the graph).
"""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from calibration.graph.edit import add_constant, drop_unused_constants
from exporter.passes.ranges import Range

FP16_MAX = 65504.0
# The verification images are few. One binary exponent of room is kept for what they did not show.
FP16_LIMIT = FP16_MAX / 2
# Where the body begins. Q/DQ of the network's input stand before its first convolution.
_ANCHORS = frozenset({"Conv", "Gemm", "MatMul", "QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Fp16Report:
    """What the pass did.

    Attributes:
        fp32_layers: Nodes of the body that stay FP32 because of overflow, in graph order.
        overflowing: Tensor name to largest absolute value, for tensors above `FP16_LIMIT`.
        weights_flushed: Share of the non-zero weights that became zero.
    """

    fp32_layers: tuple[str, ...]
    overflowing: dict[str, float]
    weights_flushed: float


@dataclass
class _Conversion:
    """State of one conversion: what is wide, and the casts and constants made so far."""

    graph: ir.Graph
    wide: set[ir.Value]
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = field(default_factory=dict)
    nonzero: int = 0
    flushed: int = 0


def convert_to_fp16(model: ir.Model, ranges: dict[str, Range]) -> Fp16Report:
    """Convert a float32 graph with inferred types, in place.

    Args:
        model: The simplified graph.
        ranges: Range of every float tensor by name (`exporter.passes.ranges.measure_ranges`).
    """
    body = _body(model.graph)
    overflowing = {
        value.name or "": ranges[value.name or ""].amax
        for node in body
        for value in node.outputs
        if _is_float(value) and ranges[value.name or ""].amax > FP16_LIMIT
    }
    wide = {value for node in body for value in node.outputs if value.name in overflowing}
    state = _Conversion(graph=model.graph, wide=wide)
    outputs = list(model.graph.outputs)
    kept = [node for node in body if _must_stay(node, wide)]
    for node in body:
        _convert_node(state, node, ir.DataType.FLOAT if node in kept else ir.DataType.FLOAT16)
    for index, value in enumerate(outputs):
        _restore_output(state, index, value)
    drop_unused_constants(model.graph)
    return Fp16Report(
        fp32_layers=tuple(node.name or "" for node in kept),
        overflowing=overflowing,
        weights_flushed=state.flushed / max(state.nonzero, 1),
    )


def _body(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes at or after the first convolutions that compute on floats, or quantise them."""
    inside: set[ir.Node] = set()
    for node in graph:
        producers = [value.producer() for value in node.inputs if value is not None]
        if node.op_type in _ANCHORS or any(producer in inside for producer in producers):
            inside.add(node)
    return [node for node in graph if node in inside and any(map(_is_float, (*node.inputs[:1], *node.outputs)))]


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT


def _must_stay(node: ir.Node, wide: set[ir.Value]) -> bool:
    if any(value in wide for value in (*node.inputs, *node.outputs)):
        return True
    constants = [value.const_value for value in node.inputs if value is not None and value.const_value is not None]
    return any(
        tensor.dtype == ir.DataType.FLOAT and tensor.size and float(np.abs(tensor.numpy()).max()) > FP16_MAX
        for tensor in constants
    )


def _convert_node(state: _Conversion, node: ir.Node, dtype: ir.DataType) -> None:
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16) or value.dtype == dtype:
            continue
        narrowed = _constant_as_fp16(state, value) if value.const_value is not None else _cast(state, value, dtype)
        node.replace_input_with(index, narrowed)
    for value in node.outputs:
        if _is_float(value) and dtype == ir.DataType.FLOAT16:
            value.dtype = ir.DataType.FLOAT16


def _constant_as_fp16(state: _Conversion, value: ir.Value) -> ir.Value:
    """Return the FP16 copy of a constant; an FP32 node that shares it keeps the original."""
    key = (value, ir.DataType.FLOAT16)
    if key not in state.casts:
        assert value.const_value is not None
        array = value.const_value.numpy()
        rounded = array.astype(np.float16)
        state.nonzero += int(np.count_nonzero(array))
        state.flushed += int(np.count_nonzero(array)) - int(np.count_nonzero(rounded))
        state.casts[key] = add_constant(state.graph, f"{value.name}.fp16", rounded)
    return state.casts[key]


def _cast(state: _Conversion, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """Return `value` in another type; one Cast serves all its users."""
    key = (value, dtype)
    if key not in state.casts:
        suffix = "to_fp16" if dtype == ir.DataType.FLOAT16 else "to_fp32"
        node = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=f"{value.name}.{suffix}")
        made = node.outputs[0]
        made.name, made.shape, made.type = node.name, value.shape, ir.TensorType(dtype)
        producer = value.producer()
        if producer is None:
            state.graph.insert_before(state.graph[0], node)
        else:
            state.graph.insert_after(producer, node)
        state.casts[key] = made
    return state.casts[key]


def _restore_output(state: _Conversion, index: int, value: ir.Value) -> None:
    """Give the graph's output its FP32 type and its name back."""
    if value.dtype != ir.DataType.FLOAT16:
        return
    name = value.name
    value.name = f"{name}.fp16"
    restored = _cast(state, value, ir.DataType.FLOAT)
    restored.name = name
    state.graph.outputs[index] = restored
