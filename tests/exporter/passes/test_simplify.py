from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxsim
import pytest
from onnx import TensorProto, helper

from calibration.graph.checks import infer_shapes
from calibration.graph.without_weights import hold_arrays
from exporter.passes.simplify import count_operators, pool_globally, simplify
from runtime.errors import GraphError
from tests.helpers.graphs import IR_VERSION, OPSET, evaluate, make_model, operators

# A mean of 48 float32 values summed in another order: unit roundoff 2^-24 times its length, for values near one.
MEAN_TOLERANCE = 48 * 2.0**-24


def images():
    return np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype(np.float32)


def pooled(axes, *, keepdims=0, shape=("n", 4)):
    """x -> Relu -> ReduceMean `embedding` -> Add `logits`."""
    return make_model(
        [
            helper.make_node("Relu", ["x"], ["r"], name="act"),
            helper.make_node("ReduceMean", ["r", "axes"], ["embedding"], name="mean", keepdims=keepdims),
            helper.make_node("Add", ["embedding", "one"], ["logits"], name="add"),
        ],
        {"axes": np.array(axes, np.int64), "one": np.array(1.0, np.float32)},
        input_shape=("n", 4, 6, 8),
        outputs={"logits": shape, "embedding": shape},
    )


def assert_same_function(model, changed):
    names = [output.name for output in model.graph.output]
    assert [value.name for value in changed.graph.outputs] == names
    for want, have in zip(evaluate(model, images()), evaluate(changed, images()), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=MEAN_TOLERANCE)


@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2], [2, -1]])
def test_mean_over_height_and_width_becomes_a_global_pool(axes):
    model = pooled(axes)
    changed = ir.from_proto(model)
    assert pool_globally(changed.graph) == 1
    assert operators(changed) == ["Relu", "GlobalAveragePool", "Flatten", "Add"]
    assert [node.name for node in changed.graph] == ["act", "global_pool", "embedding", "add"]
    assert_same_function(model, infer_shapes(changed))


def test_every_mean_of_an_eca_resnet_keeps_a_tensor_of_its_own():
    """Channel attention takes means too, of other numbers of channels: as one tensor the graph was not valid ONNX."""
    nodes, constants, source = [], {"axes": np.array([2, 3], np.int64)}, "x"
    for block in ("a", "b"):
        nodes += [
            helper.make_node("ReduceMean", [source, "axes"], [f"{block}.mean"], name=f"{block}.mean", keepdims=0),
            helper.make_node("Reshape", [f"{block}.mean", f"{block}.shape"], [f"{block}.y"], name=f"{block}.reshape"),
            helper.make_node("Mul", [source, f"{block}.y"], [f"{block}.scaled"], name=f"{block}.mul"),
            helper.make_node("Concat", [f"{block}.scaled"] * 2, [f"{block}.out"], name=f"{block}.concat", axis=1),
        ]
        constants[f"{block}.shape"] = np.array([0, -1, 1, 1], np.int64)
        source = f"{block}.out"
    nodes.append(helper.make_node("ReduceMean", [source, "axes"], ["embedding"], name="mean", keepdims=0))
    nodes.append(helper.make_node("Identity", ["embedding"], ["logits"], name="identity"))
    shape = ("n", 16)
    model = make_model(nodes, constants, input_shape=("n", 4, 6, 8), outputs={"logits": shape, "embedding": shape})
    changed = ir.from_proto(model)
    assert pool_globally(changed.graph) == 3
    names = [value.name for node in changed.graph for value in node.outputs]
    assert len(set(names)) == len(names)
    assert [node.name for node in changed.graph if node.op_type == "GlobalAveragePool"] == [
        "a.mean.pool",
        "b.mean.pool",
        "global_pool",
    ]
    assert_same_function(model, infer_shapes(changed))


@pytest.mark.parametrize(
    ("axes", "keepdims", "shape"),
    [([2, 3], 1, ("n", 4, 1, 1)), ([1, 2], 0, ("n", 8)), ([2], 0, ("n", 4, 8)), ([1, 2, 3], 0, ("n",))],
)
def test_other_means_are_left_alone(axes, keepdims, shape):
    model = pooled(axes, keepdims=keepdims, shape=shape)
    changed = ir.from_proto(model)
    assert pool_globally(changed.graph) == 0
    assert operators(changed) == ["Relu", "ReduceMean", "Add"]
    assert_same_function(model, changed)


def test_what_does_nothing_is_gone_and_what_is_left_has_a_name():
    model = make_model(
        [
            helper.make_node("Identity", ["x"], ["same"]),
            helper.make_node("Add", ["two", "two"], ["four"]),
            helper.make_node("Mul", ["same", "four"], ["scaled"]),
            helper.make_node("Mul", ["scaled", "two"], ["twice"]),
            helper.make_node("ReduceMean", ["twice", "axes"], ["logits"], keepdims=0),
        ],
        {
            "two": np.array(2.0, np.float32),
            "axes": np.array([2, 3], np.int64),
            "unused": np.zeros(3, np.float32),
        },
        input_shape=("n", 4, 6, 8),
        outputs={"logits": ("n", 4)},
    )
    model.metadata_props.add(key="made by", value="someone")
    simplified = infer_shapes(simplify(ir.from_proto(model)))
    assert "Identity" not in operators(simplified)
    assert operators(simplified)[-2:] == ["GlobalAveragePool", "Flatten"]
    names = [node.name for node in simplified.graph]
    assert all(names)
    assert len(set(names)) == len(names)
    assert "unused" not in simplified.graph.initializers
    assert not simplified.metadata_props
    for want, have in zip(evaluate(model, images()), evaluate(simplified, images()), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=8 * MEAN_TOLERANCE)


def test_constants_that_are_cast_to_a_tensors_type_are_constants():
    """As a GroupNorm is written: its weight and bias are cast to the type of what they meet."""
    constants: dict[str, npt.NDArray[Any]] = {
        "weight": np.full((4, 1, 1), 1.5, np.float32),
        "bias": np.full((4, 1, 1), 2, np.int64),
    }
    nodes = [
        helper.make_node("CastLike", ["weight", "x"], ["w"], name="cast"),
        helper.make_node("Mul", ["x", "w"], ["m"], name="mul"),
        helper.make_node("CastLike", ["bias", "m"], ["b"], name="cast2"),
        helper.make_node("Add", ["m", "b"], ["logits"], name="add"),
    ]
    model = make_model(nodes, constants, input_shape=("n", 4, 6, 8), outputs={"logits": ("n", 4, 6, 8)})
    changed = simplify(ir.from_proto(model))
    assert operators(changed) == ["Mul", "Add"]
    assert set(changed.graph.initializers) == {"weight", "b.bias"}
    (found,) = evaluate(ir.to_proto(changed), images())
    np.testing.assert_allclose(found, images() * 1.5 + 2, rtol=1e-6)


def test_shapes_of_every_tensor_are_known_afterwards():
    inferred = infer_shapes(ir.from_proto(pooled([2, 3])))
    shapes = {value.name: list(value.shape) for node in inferred.graph for value in node.outputs}
    assert {name: [str(dim) for dim in shape] for name, shape in shapes.items()} == {
        "r": ["n", "4", "6", "8"],
        "embedding": ["n", "4"],
        "logits": ["n", "4"],
    }


def unchecked(nodes, constants):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 4, 6, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return ir.from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    )


@pytest.mark.parametrize(
    "model",
    [
        unchecked([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.zeros((7, 5), np.float32)}),
        unchecked([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.zeros(8, np.float16)}),
        unchecked([helper.make_node("NoSuchOperator", ["x"], ["y"])], {}),
    ],
    ids=["sizes", "types", "operator"],
)
def test_invalid_graph_is_refused_in_one_line(model):
    with pytest.raises(GraphError, match="the graph is not valid ONNX: ") as refused:
        infer_shapes(model)
    assert "\n" not in str(refused.value)


def test_failure_of_onnxsim_is_one_line(monkeypatch):
    def fail(_model, **_options):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(onnxsim, "simplify", fail)
    with pytest.raises(GraphError, match=r"^onnxsim cannot simplify the graph: first line$"):
        simplify(ir.from_proto(pooled([2, 3])))


def test_graph_that_onnxsim_itself_doubts_is_refused(monkeypatch):
    monkeypatch.setattr(onnxsim, "simplify", lambda model, **_options: (model, False))
    with pytest.raises(GraphError, match="its result differs from its input"):
        simplify(ir.from_proto(pooled([2, 3])))


def test_operators_are_counted_most_frequent_first():
    model = make_model(
        [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Neg", ["a"], ["b"]),
            helper.make_node("Abs", ["b"], ["c"]),
            helper.make_node("Neg", ["c"], ["y"]),
        ],
        {},
        input_shape=("n", 4),
        outputs={"y": ("n", 4)},
    )
    assert list(count_operators(ir.from_proto(model)).items()) == [("Neg", 2), ("Abs", 1), ("Relu", 1)]


def test_large_constants_that_stand_alone_are_folded_and_weights_of_layers_are_not_copied():
    rng = np.random.default_rng(0)
    kernel, matrix = rng.normal(size=(64, 64, 3, 3)).astype(np.float32), rng.normal(size=(64, 128)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["embedding"], name="flat"),
        helper.make_node("Transpose", ["matrix"], ["turned"], name="turn", perm=[1, 0]),
        helper.make_node("Gemm", ["embedding", "turned"], ["logits"], name="fc", transB=1),
    ]
    constants = {"kernel": kernel, "matrix": matrix}
    outputs = {"logits": ("n", 128), "embedding": ("n", 64)}
    whole = ir.from_proto(make_model(nodes, constants, input_shape=("n", 64, 8, 8), outputs=outputs))
    hold_arrays(whole)
    weight = whole.graph.initializers["kernel"].const_value
    simplified = simplify(whole.clone())
    assert operators(simplified) == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert simplified.graph.initializers["kernel"].const_value is weight
    x = rng.normal(size=(2, 64, 8, 8)).astype(np.float32)
    for found, want in zip(evaluate(simplified, x), evaluate(whole, x), strict=True):
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-5 * np.abs(want).max())
