"""Refuse a graph that cannot be quantised, and bring the others into one form."""

import itertools

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common as common_passes

from calibration.graph.structure import constant, layers
from calibration.graph.without_weights import hold_arrays, put_back, stubs_as_inputs, without_weights
from runtime.errors import CalibrationError, GraphError

# QuantizeLinear has an axis from opset 13 on.
OLDEST_OPSET = 13
_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "DynamicQuantizeLinear",
)


def prepare(model: onnx.ModelProto | ir.Model) -> ir.Model:
    """Return a checked copy of a graph, constants as initializers, nodes named, shapes inferred.

    Its large constants are the graph's own where that is onnx-ir's, and arrays copied once where it is a protobuf.

    Raises:
        GraphError: The graph cannot be quantised; the message says what to do.
    """
    # A protobuf is checked as it is: onnx-ir makes no sense of a graph that is not valid.
    graph_model = infer_shapes(model) if isinstance(model, ir.Model) else ir.from_proto(check_onnx(model))
    common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph_model)
    name_nodes(graph_model.graph)
    check_quantizable(graph_model)
    hold_arrays(graph_model)
    return graph_model


def infer_shapes(model: ir.Model) -> ir.Model:
    """Return the graph with the type and shape of every tensor, after ONNX's full check.

    Args:
        model: A graph; not changed. Its large constants are the result's too, not copied.

    Raises:
        GraphError: The graph is not valid ONNX.
    """
    inputs = without_weights(model).model
    stubs_as_inputs(inputs)
    return put_back(check_onnx(inputs), model)


def check_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the type and shape of every tensor, after ONNX's full check.

    Raises:
        GraphError: The graph is not valid ONNX.
    """
    try:
        proto = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        # Without `full_check`, which would only infer the shapes again.
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"the graph is not valid ONNX: {str(error).strip().splitlines()[0]}") from error
    return proto


def check_quantizable(model: ir.Model) -> None:
    """Refuse a graph that the placement was not made for.

    Raises:
        GraphError: BatchNorm is not folded, it is quantised already, a weight is no constant, it is not
            float32, its opset is older than 13, or it has no convolution.
    """
    opset = model.graph.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        raise GraphError(
            f"the graph has opset {opset}, expected {OLDEST_OPSET} or newer: export it again with opset 20"
        )
    for node in model.graph:
        if node.op_type in _QUANTIZED:
            raise GraphError(
                f"the graph is quantised already ({node.op_type} {node.name}): quantise the float32 graph "
                "that it was made from"
            )
        if node.op_type == "BatchNormalization":
            raise GraphError(
                f"BatchNormalization {node.name} is not folded into its convolution: fold it first, "
                "with export-ssl or with `onnxsim model.onnx folded.onnx`"
            )
    found = layers(model)
    if not any(node.op_type == "Conv" for node in found):
        raise GraphError("the graph has no convolution: expected a ResNet")
    for node in found:
        weight = node.inputs[1]
        if weight is None or weight.const_value is None:
            raise GraphError(
                f"{node.op_type} {node.name}: its weight is not a constant of the graph: expected trained weights; "
                "simplify the graph with onnxsim, or export it from a network in eval mode"
            )
        if weight.dtype != ir.DataType.FLOAT:
            raise GraphError(
                f"{node.op_type} {node.name} has a {weight.dtype} weight, expected float32: quantise the FP32 graph; "
                "FP16 comes after INT8"
            )


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own, for graphs from elsewhere; a name that only one node has stays."""
    taken = {node.name for node in graph if node.name}
    seen: set[str] = set()
    for node in graph:
        if not node.name or node.name in seen:
            base = node.name or node.op_type.lower()
            numbered = (f"{base}.{number}" for number in itertools.count(1))
            node.name = next(name for name in itertools.chain([base], numbered) if name not in taken)
            taken.add(node.name)
        seen.add(node.name)


def check_finite(model: ir.Model) -> None:
    """Refuse a graph whose weights or biases hold NaN or infinity.

    Raises:
        CalibrationError: One does; the message names the layer.
    """
    for node in layers(model):
        for index, kind in ((1, "weight"), (2, "bias")):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is not None and value.const_value is not None and not np.isfinite(constant(node, index)).all():
                raise CalibrationError(
                    f"{node.op_type} {node.name}: its {kind} holds NaN or infinity: check the checkpoint"
                )
