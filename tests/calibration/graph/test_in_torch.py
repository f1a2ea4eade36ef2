"""A graph in PyTorch gives what onnxruntime gives, and its gradients are those of differences."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

from calibration.graph.checks import prepare
from calibration.graph.in_torch import TorchGraph, unsupported
from calibration.graph.torch_operators import OPERATORS
from tests.helpers.tiny_resnet import draw, tiny_resnet

# float32 sums in another order.
RTOL, ATOL = 1e-4, 1e-5
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 4, 7, 9)).astype(np.float32)
ROWS = RNG.normal(size=(3, 5)).astype(np.float32)


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def whole(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# Operator, its input, its constants in order, its attributes. Each with what ResNets are exported to, and with what
# the two libraries could see otherwise: padding on one side, windows that reach beyond the image, old and new axes.
CASES: list[tuple[str, np.ndarray, tuple[np.ndarray, ...], dict[str, Any]]] = [
    ("Add", IMAGE, (drawn(1, 4, 1, 1),), {}),
    ("Sub", IMAGE, (drawn(4, 1, 1),), {}),
    ("Mul", IMAGE, (drawn(2, 4, 1, 1),), {}),
    ("Div", IMAGE, (drawn(1, 1, 1, 1) + 3,), {}),
    ("MatMul", ROWS, (drawn(5, 2),), {}),
    ("AveragePool", IMAGE, (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", IMAGE, (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", IMAGE, (), {"kernel_shape": [3, 3], "pads": [0, 1, 1, 0], "count_include_pad": 1}),
    ("AveragePool", IMAGE, (), {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 0, 1]}),
    ("MaxPool", IMAGE, (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", IMAGE, (), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", IMAGE, (), {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 2]}),
    ("Conv", IMAGE, (drawn(6, 4, 3, 3), drawn(6)), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", IMAGE, (drawn(6, 2, 3, 1),), {"group": 2, "pads": [0, 1, 2, 0], "dilations": [2, 1]}),
    ("Conv", drawn(2, 1, 8), (drawn(1, 1, 3),), {"pads": [1, 1]}),
    ("Gemm", ROWS, (drawn(2, 5), drawn(2)), {"transB": 1}),
    ("Gemm", ROWS, (drawn(3, 2), drawn(5, 2)), {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("GlobalAveragePool", IMAGE, (), {}),
    ("ReduceMean", IMAGE, (whole(2, 3),), {}),
    ("ReduceMean", IMAGE, (whole(-1, -2),), {"keepdims": 0}),
    ("Relu", IMAGE, (), {}),
    ("Sigmoid", IMAGE, (), {}),
    ("Identity", IMAGE, (), {}),
    ("Dropout", IMAGE, (), {}),
    ("Flatten", IMAGE, (), {}),
    ("Flatten", IMAGE, (), {"axis": 2}),
    ("Reshape", IMAGE, (whole(0, -1),), {}),
    ("Reshape", IMAGE, (whole(2, 2, 2, -1),), {"allowzero": 1}),
    ("Transpose", IMAGE, (), {"perm": [0, 2, 3, 1]}),
    ("Transpose", ROWS, (), {}),
    ("Squeeze", drawn(2, 3, 1, 1), (whole(3, -2),), {}),
    ("Unsqueeze", ROWS, (whole(1, -1),), {}),
    ("Pad", IMAGE, (whole(0, 0, 1, 2, 0, 0, 0, 3), np.array(1.5, np.float32)), {}),
    ("Pad", IMAGE, (whole(0, 0, 1, 2, 0, 0, 2, 1),), {"mode": "reflect"}),
    ("Pad", IMAGE, (whole(0, 0, 1, 2, 0, 0, 2, 1),), {"mode": "edge"}),
    ("Expand", drawn(2, 1, 3), (whole(4, 1),), {}),
    ("Concat", ROWS, (drawn(3, 2),), {"axis": 1}),
    ("InstanceNormalization", IMAGE, (drawn(4), drawn(4)), {"epsilon": 1e-3}),
    ("Cast", np.arange(8, dtype=np.uint8).reshape(2, 4), (), {"to": TensorProto.FLOAT}),
    ("CastLike", np.arange(8, dtype=np.uint8).reshape(2, 4), (np.ones(1, np.float32),), {}),
    ("Shape", IMAGE, (), {}),
    ("Shape", IMAGE, (), {"start": 1, "end": 3}),
]


def one_node(case: tuple[str, np.ndarray, tuple[np.ndarray, ...], dict[str, Any]], opset: int = 20) -> onnx.ModelProto:
    operator, given, constants, attributes = case
    names = [f"c{number}" for number in range(len(constants))]
    node = helper.make_node(operator, ["x", *names], ["y"], name="node", **attributes)
    kind = helper.np_dtype_to_tensor_dtype(given.dtype)
    made = TensorProto.INT64 if operator == "Shape" else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", kind, given.shape)],
        [helper.make_tensor_value_info("y", made, None)],
        [numpy_helper.from_array(value, name) for value, name in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def by_onnxruntime(model: onnx.ModelProto, given: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: given})
    return np.asarray(found)


def by_torch(model: onnx.ModelProto, given: np.ndarray) -> np.ndarray:
    graph = ir.from_proto(model)
    assert unsupported(graph) is None
    (found,) = TorchGraph(graph).run(given, [model.graph.output[0].name])
    return found.numpy()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[3]}")
def test_every_operator_gives_what_onnxruntime_gives(
    case: tuple[str, np.ndarray, tuple[np.ndarray, ...], dict[str, Any]],
) -> None:
    expected = by_onnxruntime(one_node(case), case[1])
    found = by_torch(one_node(case), case[1])
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=ATOL)


def test_every_operator_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(OPERATORS)


@pytest.mark.parametrize("operator", ["ReduceMean", "Squeeze", "Unsqueeze"])
def test_axes_that_are_attributes_in_older_opsets_are_read_too(operator: str) -> None:
    axes = {"axes": [2, 3]}
    given = drawn(2, 4, 1, 1)
    opset = 17 if operator == "ReduceMean" else 11
    model = one_node((operator, given, (), axes), opset)
    np.testing.assert_allclose(by_torch(model, given), by_onnxruntime(model, given), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (("Softmax", ROWS, (), {}), "operator Softmax"),
        (("Conv", IMAGE, (drawn(6, 4, 3, 3),), {"auto_pad": "SAME_UPPER"}), "auto_pad of Conv"),
        (("Cast", ROWS, (), {"to": TensorProto.FLOAT16}), "Cast to FLOAT16"),
        (("MaxPool", IMAGE, (), {"kernel_shape": [2, 2], "dilations": [2, 2]}), "dilations of MaxPool"),
    ],
)
def test_what_cannot_be_run_is_named(case: Any, said: str) -> None:
    assert unsupported(ir.from_proto(one_node(case))) == said


@pytest.mark.parametrize("pixels", [False, True])
def test_a_network_gives_what_onnxruntime_gives(pixels: bool) -> None:
    model = tiny_resnet(pixels=pixels)
    images = np.stack([draw(seed) for seed in range(3)])
    given = images if pixels else images.transpose(0, 3, 1, 2).astype(np.float32) / 128
    graph = prepare(model)
    assert unsupported(graph) is None
    (found,) = TorchGraph(graph).run(given, ["logits"])
    np.testing.assert_allclose(found.numpy(), by_onnxruntime(model, given), rtol=RTOL, atol=ATOL)


def test_what_a_node_reads_can_be_replaced_for_it_alone() -> None:
    model = tiny_resnet()
    given = drawn(1, 3, 32, 32)
    seen: list[tuple[str, int]] = []

    def read(node: ir.Node, index: int, values: torch.Tensor) -> torch.Tensor:
        seen.append((node.name or "", index))
        return torch.zeros_like(values) if (node.name, index) == ("a.add", 0) else values

    (found,) = TorchGraph(ir.from_proto(model)).run(given, ["logits"], read)
    # Without its main branch the first block hands on the max pool's output, which is not negative.
    for node in model.graph.node:
        if node.name == "a.act2":
            node.input[0] = "maxpool"
    np.testing.assert_allclose(found.numpy(), by_onnxruntime(model, given), rtol=RTOL, atol=ATOL)
    # Constants are not replaced: of a convolution only what it reads is shown.
    assert ("conv1", 0) in seen
    assert ("conv1", 1) not in seen


def test_gradients_are_those_of_pytorchs_own_network() -> None:
    network = timm.create_model("resnet18", num_classes=3, norm_layer=torch.nn.Identity).eval()
    given = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.1
    program = torch.onnx.export(network, (given,), dynamo=True, input_names=["x"], output_names=["logits"])
    assert program is not None
    graph = prepare(program.model_proto)

    leaf = given.clone().requires_grad_()
    network(leaf).sum().backward()
    expected = leaf.grad
    assert expected is not None
    entered = given.clone().requires_grad_()

    def entering(node: ir.Node, index: int, values: torch.Tensor) -> torch.Tensor:
        return entered if (node.op_type, index) == ("Conv", 0) and values.shape[1] == 3 else values

    (found,) = TorchGraph(graph).run(given.numpy(), ["logits"], entering)
    (gradient,) = torch.autograd.grad(found.sum(), entered)
    np.testing.assert_allclose(gradient.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
