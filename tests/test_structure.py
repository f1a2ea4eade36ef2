import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.structure import (
    check_graph,
    check_quantizable,
    layers,
    nonnegative_tensors,
    prepare,
    residual_adds,
)
from runtime.errors import GraphError
from tests.graphs import evaluate, make_model
from tests.resnet_graphs import Network, basic_block, bottleneck, downsample_block

IMAGES = np.random.default_rng(5).normal(size=(2, 3, 16, 16)).astype(np.float32)


def test_a_graph_that_can_be_quantised_is_accepted_and_computes_the_same():
    prepared = prepare(bottleneck(group=2))
    for want, have in zip(evaluate(bottleneck(group=2), IMAGES), evaluate(prepared, IMAGES), strict=True):
        np.testing.assert_array_equal(have, want)


def test_constant_nodes_become_initializers():
    model = bottleneck()
    kept = []
    for tensor in list(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        kept.append(tensor.name)
    want = evaluate(bottleneck(), IMAGES)[0]
    del model.graph.initializer[:]
    prepared = prepare(model)
    assert len(prepared.graph.initializers) == len(kept)
    assert "Constant" not in {node.op_type for node in prepared.graph}
    np.testing.assert_array_equal(evaluate(prepared, IMAGES)[0], want)


def test_batchnorm_is_refused_with_the_next_step():
    net = Network()
    net.conv("conv1", "x", shape=(4, 3, 3))
    for part in ("scale", "shift", "mean", "var"):
        net.constants[f"bn.{part}"] = np.ones(4, np.float32)
    net.node("BatchNormalization", "bn1", "conv1", *(f"bn.{part}" for part in ("scale", "shift", "mean", "var")))
    with pytest.raises(GraphError, match=r"BatchNormalization bn1 is not folded.*fold it first"):
        prepare(net.finish("bn1", 4))


def test_a_quantised_graph_is_refused_with_the_next_step():
    net = Network()
    net.constants |= {"scale": np.array(0.1, np.float32), "zero": np.array(0, np.int8)}
    net.node("QuantizeLinear", "q", "x", "scale", "zero")
    net.conv("conv1", net.node("DequantizeLinear", "dq", "q", "scale", "zero"), shape=(4, 3, 3))
    with pytest.raises(GraphError, match=r"quantised already \(QuantizeLinear q\): quantise the float32 graph"):
        prepare(net.finish("conv1", 4))


def test_a_weight_that_is_computed_is_refused_by_name():
    net = Network()
    net.conv("conv1", "x", shape=(4, 3, 3))
    net.node("Abs", "computed", "conv1.weight")
    net.nodes.reverse()
    net.nodes[1].input[1] = "computed"
    with pytest.raises(GraphError, match=r"Conv conv1: its weight is not a constant"):
        prepare(net.finish("conv1", 4))


def test_a_graph_without_a_convolution_is_refused():
    model = make_model(
        [helper.make_node("Relu", ["x"], ["y"], name="act")], {}, input_shape=("n", 3), outputs={"y": ("n", 3)}
    )
    with pytest.raises(GraphError, match="no convolution"):
        prepare(model)


@pytest.mark.parametrize(("opset", "accepted"), [(12, False), (13, True), (20, True)])
def test_opset_13_is_the_oldest_that_is_accepted(opset, accepted):
    model = basic_block()
    model.opset_import[0].version = opset
    if accepted:
        check_quantizable(ir.from_proto(model))
    else:
        with pytest.raises(GraphError, match="opset 12, expected 13 or newer"):
            check_quantizable(ir.from_proto(model))


def test_half_precision_weights_are_refused():
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float16), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ("n", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ("n", 4, 4, 4))],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(GraphError, match="Conv conv1 has a FLOAT16 weight, expected float32"):
        prepare(model)


def test_an_invalid_graph_is_refused():
    model = basic_block()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(GraphError, match="not valid ONNX"):
        check_graph(model)


def test_layers_are_convolutions_and_classifiers_in_graph_order():
    assert [node.name for node in layers(prepare(bottleneck()))] == ["conv1", "b.conv1", "b.conv2", "b.conv3", "fc"]


def test_nonnegative_is_what_follows_a_relu_and_no_sum_with_a_convolution():
    found = nonnegative_tensors(prepare(basic_block()))
    assert found == {"act1", "maxpool", "b.act1", "b.act2", "global_pool", "embedding"}


def test_clip_sigmoid_and_sums_of_nonnegative_tensors_are_nonnegative_and_others_are_not():
    net = Network()
    net.constants |= {"low": np.array(0, np.float32), "below": np.array(-1, np.float32)}
    net.conv("c", "x", shape=(4, 3, 1))
    net.node("Clip", "six", "c", "low")
    net.node("Clip", "both", "c", "below")
    net.node("Clip", "unbounded", "c")
    net.node("Sigmoid", "gate", "c")
    net.node("Add", "sum", "six", "gate")
    net.node("Add", "mixed", "six", "both")
    net.node("Sub", "difference", "six", "gate")
    net.node("Concat", "joined", "sum", "gate", axis=1)
    net.node("Concat", "half", "joined", "difference", axis=1)
    net.node("Concat", "all", "half", "mixed", "unbounded", axis=1)
    assert nonnegative_tensors(prepare(net.finish("all", 20))) == {"six", "gate", "sum", "joined"}


def test_pixels_are_nonnegative_until_the_mean_is_subtracted():
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    mean = numpy_helper.from_array(np.full((1, 3, 1, 1), 100, np.float32), "mean")
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["t"], name="t", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["t"], ["wide"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["wide", "mean"], ["centred"], name="sub"),
        helper.make_node("Conv", ["centred", "w"], ["y"], name="conv1"),
    ]
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ("n", 4, 4, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 4, 4, 4))],
        [weight, mean],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    assert nonnegative_tensors(prepare(model)) == {"t", "wide"}


@pytest.mark.parametrize("first", [False, True])
def test_skip_side_is_the_identity_and_in_a_downsample_block_the_shorter_branch(first):
    skip = 0 if first else 1
    for model in (bottleneck(identity_first=first), downsample_block(downsample_first=first)):
        assert [(add.node, add.skip) for add in residual_adds(prepare(model))] == [("b.add", skip)]
    pooled = downsample_block(pooled=True, downsample_first=first)
    assert [add.skip for add in residual_adds(prepare(pooled))] == [skip]


def test_two_branches_of_one_length_leave_the_second_input_as_the_skip_side():
    net = Network()
    net.node("Add", "add", net.conv("a", "x", shape=(4, 3, 1)), net.conv("b", "x", shape=(4, 3, 1)))
    assert [add.skip for add in residual_adds(prepare(net.finish("add", 4)))] == [1]


def test_adding_a_constant_is_not_a_residual_add():
    net = Network()
    net.constants["one"] = np.array(1, np.float32)
    net.node("Add", "add", net.conv("a", "x", shape=(4, 3, 1)), "one")
    assert residual_adds(prepare(net.finish("add", 4))) == ()
