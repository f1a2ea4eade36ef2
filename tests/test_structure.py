import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graph_checks import prepare
from calibration.structure import layers, nonnegative_tensors, residual_adds
from tests.resnet_graphs import Network, basic_block, bottleneck, downsample_block


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
