"""Write explicit Q/DQ into a float32 graph.

    tensor ─► QuantizeLinear ─► DequantizeLinear ─► every use that the placement names
    INT8 initializer ─► DequantizeLinear (one scale per output channel; `rtx`: one in all) ─► Conv, Gemm

The integers' meaning is in the graph: round half to even, add the zero point, clip to the type (ONNX QuantizeLinear).
Weights are INT8 with zero point 0. Activations are INT8 with zero point 0 too, and those that cannot be negative are
shifted where they can be (`shift.py`). For `cpu` activations are UINT8, with the zero point 128 where they can be
negative, which stands for the same 256 numbers as INT8, or a smaller one (`zero_points.py`). Biases stay float. Zero
points are written out, since TensorRT reads the type from them.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx_ir as ir

from calibration.graph.checks import check_onnx
from calibration.graph.edit import add_constant, drop_if_unused
from calibration.qdq.placement import Placement, QuantizedTensor
from calibration.qdq.shift import shift
from calibration.qdq.zero_points import MIDDLE
from calibration.weights.scales import WeightQuantization
from runtime.errors import CalibrationError
from runtime.support.engine_names import Int8Target

_Kind = Literal["signed", "shifted", "unsigned", "middle"]
_ZERO_POINTS: Mapping[_Kind, np.ndarray] = {
    "signed": np.array(0, np.int8),
    "shifted": np.array(0, np.int8),
    "unsigned": np.array(0, np.uint8),
    # Half of the levels stand for negative numbers: INT8's integers are 128 less.
    "middle": np.array(MIDDLE, np.uint8),
}


def write_qdq(
    model: ir.Model,
    placement: Placement,
    *,
    activation_scales: Mapping[str, float],
    weights: Mapping[str, WeightQuantization],
    zero_points: Mapping[str, int] | None = None,
    float_weights: bool = False,
) -> ir.Model:
    """Return the graph with Q/DQ, checked, with inferred types and shapes.

    Args:
        model: A float32 graph that `calibration.graph.checks.prepare` has checked; not changed.
        placement: Which tensors and layers.
        activation_scales: Tensor name to scale, real = integer * scale.
        weights: Layer name to its INT8 weight.
        zero_points: Tensor name to a zero point of its own, for `cpu`.
        float_weights: Store what the INT8 weights mean as float with Q/DQ behind it, instead of INT8.

    Raises:
        CalibrationError: A tensor of the placement has no scale, or none above zero.
    """
    written = model.clone()
    insert_qdq(
        written,
        placement,
        activation_scales=activation_scales,
        weights=weights,
        zero_points=zero_points,
        float_weights=float_weights,
    )
    checked: ir.Model = ir.from_proto(check_onnx(ir.to_proto(written)))
    return checked


def insert_qdq(
    written: ir.Model,
    placement: Placement,
    *,
    activation_scales: Mapping[str, float],
    weights: Mapping[str, WeightQuantization],
    zero_points: Mapping[str, int] | None = None,
    float_weights: bool = False,
    shifted: bool = True,
) -> None:
    """Put Q/DQ into a graph, unchecked: what only judges a candidate, dozens of times, is checked by its engine.

    Args:
        written: The graph, changed.
        placement: Which tensors and layers.
        activation_scales: Tensor name to scale, real = integer * scale.
        weights: Layer name to its INT8 weight.
        zero_points: Tensor name to a zero point of its own, for `cpu`.
        float_weights: Store what the INT8 weights mean as float with Q/DQ behind it, instead of INT8.
        shifted: Shift what `cpu` would store as UINT8 with zero point 0. Without, it is stored so for every target: the
            same numbers, and no bias depends on a scale, so that scales can be set anew.

    Raises:
        CalibrationError: A tensor of the placement has no scale, or none above zero.
    """
    graph = written.graph
    nodes = {node.name: node for node in graph}
    values = {value.name or "": value for value in (*graph.inputs, *(out for node in graph for out in node.outputs))}
    paired = {values[tensor.name] for tensor in placement.activations}
    for tensor in placement.activations:
        _check_scale(tensor.name, activation_scales)
    kinds = {tensor.name: _kind(tensor, placement.target, shifted=shifted) for tensor in placement.activations}
    steps = {values[name]: activation_scales[name] for name, kind in kinds.items() if kind == "shifted"}
    read = shift(graph, steps, paired, {name: weights[name] for name in placement.weights})
    for tensor in placement.activations:
        value, own = values[tensor.name], (zero_points or {}).get(tensor.name)
        zero_point = (
            _shared_zero_point(graph, kinds[tensor.name])
            if own is None
            else add_constant(graph, zero_point_name(tensor.name), np.array(own, np.uint8))
        )
        scale = np.array(activation_scales[tensor.name], np.float32)
        _quantize_activation(graph, read.get(value, value), nodes, tensor=tensor, scale=scale, zero_point=zero_point)
    for name in placement.weights:
        _quantize_weight(
            graph, nodes[name], weights[name], float_weights=float_weights, per_tensor=placement.target == "rtx"
        )


def _check_scale(tensor: str, scales: Mapping[str, float]) -> None:
    scale = scales.get(tensor, 0.0)
    if not scale > 0 or not np.isfinite(scale):
        raise CalibrationError(f"tensor {tensor} has scale {scale}: expected a positive one; calibrate again")


def scale_name(tensor: str) -> str:
    """Return the name of the constant that holds the scale of an activation."""
    return f"{tensor}.scale"


def zero_point_name(tensor: str) -> str:
    """Return the name of the constant that holds the zero point of an activation with one of its own."""
    return f"{tensor}.zero_point"


def _quantize_activation(
    graph: ir.Graph,
    value: ir.Value,
    nodes: Mapping[str | None, ir.Node],
    *,
    tensor: QuantizedTensor,
    scale: np.ndarray,
    zero_point: ir.Value,
) -> None:
    parameters = [add_constant(graph, scale_name(tensor.name), scale), zero_point]
    quantize = ir.node("QuantizeLinear", [value, *parameters], name=f"{tensor.name}.quantize")
    dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], *parameters], name=f"{tensor.name}.dequantize")
    quantize.outputs[0].name = f"{tensor.name}.quantized"
    dequantize.outputs[0].name = f"{tensor.name}.dequantized"
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantize, dequantize])
    else:
        graph.insert_after(producer, [quantize, dequantize])
    for name, index in tensor.uses:
        nodes[name].replace_input_with(index, dequantize.outputs[0])


def _quantize_weight(
    graph: ir.Graph, node: ir.Node, weight: WeightQuantization, *, float_weights: bool, per_tensor: bool
) -> None:
    old = node.inputs[1]
    assert old is not None
    base = f"{node.name}.weight"
    # All channels' scales are one number then; as a scalar it lets TensorRT for RTX fuse the convolution.
    scales = weight.scales[0] if per_tensor else weight.scales
    attributes = {} if per_tensor else {"axis": weight.axis}
    scale = add_constant(graph, f"{base}.scale", np.asarray(scales, np.float32))
    zero_point = add_constant(graph, f"{base}.zero_point", np.zeros(np.shape(scales), np.int8))
    made = []
    if float_weights:
        source = add_constant(graph, f"{base}.rounded", weight.real)
        made.append(
            ir.node("QuantizeLinear", [source, scale, zero_point], attributes=attributes, name=f"{base}.quantize")
        )
        source = made[0].outputs[0]
        source.name = f"{base}.quantized"
    else:
        source = add_constant(graph, f"{base}.int8", weight.values)
    made.append(
        ir.node("DequantizeLinear", [source, scale, zero_point], attributes=attributes, name=f"{base}.dequantize")
    )
    made[-1].outputs[0].name = f"{base}.dequantized"
    graph.insert_before(node, made)
    node.replace_input_with(1, made[-1].outputs[0])
    drop_if_unused(graph, old)


def _kind(tensor: QuantizedTensor, target: Int8Target, *, shifted: bool) -> _Kind:
    if target == "cpu":
        return "unsigned" if tensor.unsigned else "middle"
    if not tensor.unsigned:
        return "signed"
    return "shifted" if shifted else "unsigned"


def _shared_zero_point(graph: ir.Graph, kind: _Kind) -> ir.Value:
    """Return the zero point of an activation, which others of its kind share; its type is the integers'."""
    value = _ZERO_POINTS[kind]
    name = f"zero_point.{value.dtype.name}.{value}"
    return graph.initializers[name] if name in graph.initializers else add_constant(graph, name, value)
