"""The ONNX parser's checks, node by node: what TensorRT refuses is refused, with the same codes."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tensorrt._graph import DEQUANTIZE, QUANTIZE, Graph

# The part of onnx-tensorrt's operators.md that convolutional networks and their exporters use.
OPERATORS = frozenset(
    """
    Abs Add And AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose
    DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool
    GlobalMaxPool Greater HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less
    Log MatMul Max MaxPool Mean Min Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceMax
    ReduceMean ReduceMin ReduceSum Relu Reshape Resize Round Shape Sigmoid Sign Slice Softmax Softplus Split Sqrt
    Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one node: ErrorCode's name, text, and the node's place; -1 for the whole graph."""

    code: str
    text: str
    node: int = -1
    name: str = ""
    operator: str = ""


def find_faults(graph: Graph) -> list[Fault]:
    """Return everything in the graph that TensorRT does not take."""
    found = []
    for index, node in enumerate(graph.model.graph.node):
        for code, text in _node_faults(graph, node):
            found.append(Fault(code, text, index, node.name, node.op_type))
    for name in graph.inputs:
        if graph.datatype(name) == "UNKNOWN":
            found.append(Fault("UNSUPPORTED_GRAPH", f"Input {name} has an unsupported data type."))
    return found or _type_faults(graph)


def _type_faults(graph: Graph) -> list[Fault]:
    """Return what a strongly typed network does not allow: an operator on types that do not match."""
    try:
        onnx.shape_inference.infer_shapes(graph.model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        return [Fault("INVALID_GRAPH", " ".join(str(error).split()))]
    return []


def _node_faults(graph: Graph, node: onnx.NodeProto) -> list[tuple[str, str]]:
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        text = (
            "No importer registered for op. Attempting to import as plugin: "
            f"Plugin not found, are the plugin name, version, and namespace correct? ({node.op_type})"
        )
        return [("UNSUPPORTED_NODE", text)]
    faults = []
    uint8 = [name for name in node.input if graph.types.get(name) == TensorProto.UINT8 and name in graph.inputs]
    if uint8 and node.op_type != "Cast":
        text = f"UINT8 tensor {uint8[0]} must be cast to a floating-point type before any other operator."
        faults.append(("UNSUPPORTED_NODE_DATATYPE", text))
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        faults += _quantization_faults(graph, node)
    elif not uint8 and any(graph.types.get(name) == TensorProto.UINT8 for name in node.input):
        faults.append(
            ("UNSUPPORTED_NODE_DATATYPE", "Found unsupported datatype UINT8: only network inputs may have it.")
        )
    return faults


def _quantization_faults(graph: Graph, node: onnx.NodeProto) -> list[tuple[str, str]]:
    faults = []
    if len(node.input) < 2 or not graph.is_constant(node.input[1]):
        faults.append(("INVALID_NODE", "The scale input must be an initializer."))
    zero = node.input[2] if len(node.input) > 2 else ""
    quantized = graph.types.get(node.output[0] if node.op_type == QUANTIZE else node.input[0])
    if quantized == TensorProto.UINT8:
        text = "TensorRT supports only symmetric INT8 quantization: UINT8 is only allowed with DLA."
        faults.append(("UNSUPPORTED_NODE_DATATYPE", text))
    if not zero and node.op_type == QUANTIZE:
        faults.append(("UNSUPPORTED_NODE_DATATYPE", "Without a zero point the output type is UINT8, not supported."))
    if zero and (tensor := graph.initializers.get(zero)) is not None and np.any(numpy_helper.to_array(tensor)):
        text = "TensorRT only supports symmetric quantization. The zero point must be all zeros."
        faults.append(("INVALID_NODE", text))
    elif zero and not graph.is_constant(zero):
        faults.append(("INVALID_NODE", "The zero point must be an initializer."))
    return faults
