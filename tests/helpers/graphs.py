"""Small ONNX graphs and references for the tests of the graph passes."""

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 20
IR_VERSION = 9


def make_model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, npt.NDArray[np.generic]],
    *,
    input_shape: tuple[int | str, ...],
    outputs: dict[str, tuple[int | str, ...]],
) -> onnx.ModelProto:
    """Return a checked float32 model with the input `x`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def evaluate(model: onnx.ModelProto | ir.Model, x: npt.NDArray[np.generic]) -> list[npt.NDArray[np.generic]]:
    """Return the outputs by onnx's own reference implementation."""
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    return list(ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x}))


def operators(model: ir.Model) -> list[str]:
    """Return the operators in graph order."""
    return [node.op_type for node in model.graph]
