import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graph.checks import prepare
from calibration.graph.structure import (
    constant,
    is_global_pool,
    layers,
    nonnegative_tensors,
    relu_partners,
    residual_adds,
)
from runtime.errors import GraphError
from tests.helpers.resnet_graphs import Network, basic_block, bottleneck, downsample_block


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


def test_a_gated_branch_is_the_main_one_and_the_identity_beside_it_the_skip_side():
    # As in a squeeze-and-excitation block: what enters the Add comes from no convolution on either side.
    for first in (False, True):
        net = Network()
        net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
        net.node("Sigmoid", "gate", net.conv("conv3", net.conv("conv2", "act1", shape=(4, 4, 3)), shape=(4, 4, 1)))
        net.node("Mul", "gated", "conv2", "gate")
        net.node("Add", "add", *(("act1", "gated") if first else ("gated", "act1")))
        assert [add.skip for add in residual_adds(prepare(net.finish("add", 4)))] == [0 if first else 1]


def test_a_convolution_that_others_read_too_is_an_identity():
    net = Network()
    net.conv("stem", "x", shape=(4, 3, 3))
    net.node("Add", "add", "stem", net.conv("main", "stem", shape=(4, 4, 3)))
    assert [add.skip for add in residual_adds(prepare(net.finish("add", 4)))] == [0]


def test_the_sum_of_a_tensor_with_itself_has_a_skip_side():
    net = Network()
    net.node("Add", "add", net.conv("a", "x", shape=(4, 3, 1)), "a")
    assert [add.skip for add in residual_adds(prepare(net.finish("add", 4)))] == [1]


def test_pooling_and_reshaping_keep_what_is_negative_negative():
    net = Network()
    net.conv("c", "x", shape=(4, 3, 1))
    net.node("MaxPool", "pooled", "c", kernel_shape=[2, 2])
    net.node("LeakyRelu", "leaky", "pooled")
    assert nonnegative_tensors(prepare(net.finish("leaky", 4))) == frozenset()


@pytest.mark.parametrize(
    ("axes", "expected"), [([2, 3], True), ([-1, -2], True), ([3, 2], True), ([1], False), ([1, 2, 3], False)]
)
@pytest.mark.parametrize("opset", [13, 20])
def test_a_mean_is_a_global_pool_over_height_and_width_only(axes, expected, opset):
    # Until opset 17 the axes are an attribute, from 18 on an input.
    inputs, attributes = (["r"], {"axes": axes}) if opset < 18 else (["r", "axes"], {})
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["r"], name="conv1"),
            helper.make_node("ReduceMean", inputs, ["y"], name="mean", **attributes),
        ],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w"),
            *([] if opset < 18 else [numpy_helper.from_array(np.array(axes), "axes")]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    assert [is_global_pool(node) for node in prepare(model).graph] == [False, expected]


def test_a_matmul_of_two_activations_is_no_layer():
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 3)))
    net.node("MatMul", "squared", "act1", "act1")
    assert [node.name for node in layers(prepare(net.finish("squared", 4)))] == ["conv1", "fc"]


def test_a_constant_is_read_and_anything_else_is_refused_by_the_nodes_name():
    model = basic_block()
    node = next(node for node in prepare(model).graph if node.name == "b.conv1")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(constant(node, 1), stored["b.conv1.weight"])
    for index in (0, 3):
        with pytest.raises(GraphError, match=f"Conv b.conv1: input {index} is not a constant: expected trained"):
            constant(node, index)


def test_a_convolution_that_a_node_elsewhere_reads_is_the_skip_side_though_its_branch_is_longer():
    net = Network()
    net.conv("long", net.conv("before", "x", shape=(4, 3, 1)), shape=(4, 4, 1))
    net.node("Add", "add", net.conv("short", "x", shape=(4, 3, 1)), "long")
    net.node("Concat", "joined", "add", "long", axis=1)
    assert [add.skip for add in residual_adds(prepare(net.finish("joined", 8)))] == [1]


def test_a_relu_hides_a_part_of_what_one_add_alone_reads():
    assert relu_partners(prepare(downsample_block())) == {"b.conv2": "b.downsample", "b.downsample": "b.conv2"}
    # The identity is what the block's first convolution reads, too.
    assert relu_partners(prepare(basic_block())) == {"b.conv2": "maxpool"}


@pytest.mark.parametrize("seen", ["a pool", "a second reader", "an output"])
def test_a_relu_hides_nothing_of_a_sum_that_others_see(seen):
    net = Network()
    net.conv("a", "x", shape=(4, 3, 1))
    net.conv("b", "x", shape=(4, 3, 1))
    net.node("Add", "add", "a", "b")
    last = net.node("Relu", "act", "add")
    if seen == "a pool":
        last = net.node("Add", "later", last, net.node("AveragePool", "pool", "add", kernel_shape=[1, 1]))
    elif seen == "a second reader":
        # Of `a` alone: the Add hides a part of `b` still.
        last = net.node("Concat", "later", last, "a", axis=1)
    model = net.finish(last, 8 if seen == "a second reader" else 4)
    if seen == "an output":
        model.graph.output.append(helper.make_tensor_value_info("add", TensorProto.FLOAT, ("n", 4, 16, 16)))
    assert relu_partners(prepare(model)) == ({"b": "a"} if seen == "a second reader" else {})
