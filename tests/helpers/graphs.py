"""Small ONNX graphs and references for the tests of the graph passes."""

from collections.abc import Mapping
from typing import Any

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
    constants: Mapping[str, npt.NDArray[Any]],
    *,
    input_shape: tuple[int | str, ...],
    outputs: Mapping[str, tuple[int | str, ...]],
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


def evaluate(
    model: onnx.ModelProto | ir.Model, x: npt.NDArray[Any], names: list[str] | None = None
) -> list[npt.NDArray[Any]]:
    """Return the outputs by onnx's own reference implementation, or the tensors that `names` has."""
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    return list(ReferenceEvaluator(proto).run(names, {proto.graph.input[0].name: x}))


def operators(model: ir.Model) -> list[str]:
    """Return the operators in graph order."""
    return [node.op_type for node in model.graph]


def two_convolutions(first_scale: float = 1.0, second_scale: float = 1.0) -> onnx.ModelProto:
    """Normalisation, conv, relu, conv, pool, flatten, gemm: the shape of a ResNet."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"], name="sub"),
        helper.make_node("Conv", ["centred", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="act1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2"),
        helper.make_node("Relu", ["c2"], ["r2"], name="act2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["embedding"], name="flat"),
        helper.make_node("Gemm", ["embedding", "fc", "fcb"], ["logits"], name="fc", transB=1),
    ]
    constants = {
        "mean": np.full((1, 3, 1, 1), 100.3, np.float32),
        "w1": (rng.normal(size=(8, 3, 3, 3)) * 0.01 * first_scale).astype(np.float32),
        "b1": rng.normal(size=8).astype(np.float32),
        "w2": (rng.normal(size=(8, 8, 1, 1)) * 0.3 * second_scale).astype(np.float32),
        "fc": (rng.normal(size=(5, 8)) * 0.3).astype(np.float32),
        "fcb": rng.normal(size=5).astype(np.float32),
    }
    return make_model(nodes, constants, input_shape=("n", 3, 8, 8), outputs={"logits": ("n", 5), "embedding": ("n", 8)})


def two_images() -> npt.NDArray[np.float32]:
    """Return what `two_convolutions` takes, (2, 3, 8, 8)."""
    return np.random.default_rng(1).integers(0, 256, (2, 3, 8, 8)).astype(np.float32)
