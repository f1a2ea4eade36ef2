import numpy as np
import pytest
from onnx import numpy_helper

from calibration.graph.channel_groups import channel_groups
from calibration.graph.checks import prepare
from calibration.weights.equalize import apply_factors
from tests.helpers.graphs import evaluate, make_model
from tests.helpers.resnet_graphs import (
    Network,
    basic_block,
    bottleneck,
    channel_attention_block,
    downsample_block,
    excitation_block,
)

# A factor is divided out of one weight and multiplied into the next, each rounded to float32 once.
SCALING_TOLERANCE = 1e-5
IMAGES = np.random.default_rng(5).normal(size=(2, 3, 16, 16)).astype(np.float32)


def groups_by_tensor(model):
    return {tensor: group for group in channel_groups(prepare(model)) for tensor in group.tensors}


def test_a_stage_shares_its_channels_along_the_residual_stream():
    groups = groups_by_tensor(basic_block(embedding=False))
    stream = groups["conv1"]
    assert stream.tensors == (*("conv1", "act1", "maxpool", "b.conv2", "b.add", "b.act2", "global_pool", "embedding"),)
    assert (stream.producers, stream.consumers) == (("conv1", "b.conv2"), ("b.conv1", "fc"))
    assert (stream.channels, stream.scalable) == (4, True)
    inner = groups["b.act1"]
    assert (inner.tensors, inner.producers, inner.consumers) == (("b.conv1", "b.act1"), ("b.conv1",), ("b.conv2",))


def test_the_group_of_pooled_features_that_are_an_output_is_not_scalable():
    groups = groups_by_tensor(basic_block(embedding=True))
    assert not groups["embedding"].scalable
    assert groups["b.act1"].scalable


@pytest.mark.parametrize("operator", ["Sigmoid", "Exp", "Clip"])
def test_a_group_that_passes_through_another_operator_is_not_scalable(operator):
    net = Network()
    net.node(operator, "other", net.conv("c", "x", shape=(4, 3, 1)))
    assert not groups_by_tensor(net.finish("other", 4, embedding=False))["c"].scalable


def test_a_mean_over_height_and_width_hands_on_channels():
    net = Network()
    net.constants["axes"] = np.array([2, 3])
    net.node("ReduceMean", "mean", net.conv("c", "x", shape=(4, 3, 1)), "axes", keepdims=1)
    net.node("Flatten", "flat", "mean")
    net.constants["head"] = np.ones((4, 2), np.float32)
    net.node("MatMul", "y", "flat", "head")
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"y": ("n", 2)})
    group = groups_by_tensor(model)["c"]
    assert (group.tensors, group.consumers, group.scalable) == (("c", "mean", "flat"), ("y",), True)


def test_a_mean_over_channels_mixes_them():
    net = Network()
    net.constants["axes"] = np.array([1])
    net.node("ReduceMean", "mean", net.conv("c", "x", shape=(4, 3, 1)), "axes", keepdims=1)
    net.conv("d", "mean", shape=(4, 1, 1))
    groups = groups_by_tensor(net.finish("d", 4))
    assert (groups["c"].tensors, groups["c"].scalable) == (("c",), False)
    assert "mean" not in groups


def test_flattened_pixels_are_not_channels():
    net = Network()
    net.node("Flatten", "flat", net.conv("c", "x", shape=(4, 3, 1)))
    net.constants["head"] = np.ones((4 * 16 * 16, 2), np.float32)
    net.node("MatMul", "y", "flat", "head")
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"y": ("n", 2)})
    assert not groups_by_tensor(model)["c"].scalable


def test_an_average_pool_before_a_downsample_hands_on_channels():
    groups = groups_by_tensor(downsample_block(pooled=True))
    stem = groups["conv1"]
    assert (stem.tensors, stem.producers) == (("conv1", "act1", "b.pool"), ("conv1",))
    assert (stem.consumers, stem.channels, stem.scalable) == (("b.conv1", "b.downsample"), 4, True)
    stream = groups["b.downsample"]
    assert stream.producers == ("b.conv2", "b.downsample")
    assert (stream.channels, stream.scalable) == (8, False)


@pytest.mark.parametrize("gate_first", [False, True])
def test_channels_that_a_gate_multiplies_stay_apart_and_the_gate_is_none_of_them(gate_first):
    model = excitation_block(gate_first=gate_first)
    groups = groups_by_tensor(model)
    stream = groups["b.conv1"]
    assert set(stream.tensors) == {*("conv1", "act1", "b.conv1", "b.se.pool", "b.se.scaled", "b.add", "b.act2")}
    assert (stream.producers, stream.scalable) == (("conv1", "b.conv1"), True)
    assert set(stream.consumers) == {"b.conv1", "b.se.fc1", "c.conv1"}
    # What makes the gate goes through a sigmoid.
    assert not groups["b.se.fc2"].scalable
    factors = np.array([0.25, 3.0, 0.5, 1.7])
    prepared = prepare(model)
    scaled = apply_factors(prepared, channel_groups(prepared), {stream.tensors[0]: factors})
    want, have = evaluate(model, IMAGES)[0], evaluate(scaled, IMAGES)[0]
    np.testing.assert_allclose(have, want, atol=SCALING_TOLERANCE * np.abs(want).max(), rtol=0)
    (gated,) = evaluate(scaled, IMAGES, ["b.se.scaled"])
    np.testing.assert_allclose(
        gated * factors[:, None, None], evaluate(model, IMAGES, ["b.se.scaled"])[0], rtol=1e-4, atol=1e-5
    )


def test_a_gate_that_mixes_channels_and_one_that_is_divided_itself_leave_none_scalable():
    assert not groups_by_tensor(channel_attention_block())["b.conv1"].scalable
    net = Network()
    data = net.conv("c", "x", shape=(4, 3, 1))
    # The gate is the channels' own mean: both sides would be divided, and the product by the square.
    net.node("Mul", "product", data, net.node("GlobalAveragePool", "mean", data))
    net.conv("d", "product", shape=(4, 4, 1))
    assert not groups_by_tensor(net.finish("d", 4))["c"].scalable


@pytest.mark.parametrize(
    ("source", "operator"),
    [("x", None), ("x", "Relu"), ("x", "Identity"), ("shift", "Relu"), ("shift", "Identity"), ("one", None)],
)
def test_a_group_that_an_image_or_another_constant_is_added_to_is_not_scalable(source, operator):
    net = Network()
    net.constants |= {"shift": np.ones((1, 3, 1, 1), np.float32), "one": np.ones((1, 1, 1), np.float32)}
    added = net.node(operator, "other", source) if operator else source
    net.node("Add", "add", net.conv("c", "x", shape=(3, 3, 1)), added)
    net.conv("d", "add", shape=(4, 3, 1))
    assert not groups_by_tensor(net.finish("d", 4))["c"].scalable


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("constant_first", [False, True])
def test_scales_and_biases_per_channel_take_up_factors(shape, constant_first):
    net = Network()
    net.constants |= {"scale": np.full(shape, 2, np.float32), "shift": np.ones(shape, np.float32)}
    order = -1 if constant_first else 1
    net.node("Mul", "mul", *(net.conv("c", "x", shape=(3, 3, 1)), "scale")[::order])
    net.node("Add", "add", *("mul", "shift")[::order])
    net.conv("d", "add", shape=(4, 3, 1))
    found = groups_by_tensor(net.finish("d", 4))
    assert not found["c"].scalable
    assert (found["add"].producers, found["add"].consumers) == (("mul", "add"), ("d",))
    assert (found["add"].tensors, found["add"].channels, found["add"].scalable) == (("mul", "add"), 3, True)


def test_a_scale_whose_product_is_added_to_what_it_reads_is_not_scalable():
    """As a layer scale: the product of divided values and of a divided scale would be divided twice."""
    net = Network()
    net.constants["scale"] = np.full((3, 1, 1), 2, np.float32)
    data = net.conv("c", "x", shape=(3, 3, 1))
    net.node("Add", "add", net.node("Mul", "mul", data, "scale"), data)
    net.conv("d", "add", shape=(4, 3, 1))
    assert not groups_by_tensor(net.finish("d", 4))["c"].scalable


def test_one_channel_that_is_added_to_many_is_not_scaled():
    net = Network()
    net.node("Add", "add", net.conv("c", "x", shape=(4, 3, 1)), net.conv("one", "x", shape=(1, 3, 1)))
    net.conv("d", "add", shape=(4, 4, 1))
    assert not groups_by_tensor(net.finish("d", 4))["c"].scalable


@pytest.mark.parametrize("group", [1, 2])
def test_scaling_a_scalable_group_by_hand_leaves_the_function_as_it_was(group):
    model = bottleneck(group=group)
    factors = np.array([0.25, 3.0, 0.5, 1.7], np.float32)
    inner = groups_by_tensor(model)["b.act1"]
    assert (inner.producers, inner.consumers, inner.scalable) == (("b.conv1",), ("b.conv2",), True)
    want = evaluate(model, IMAGES)[0]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    rows = numpy_helper.to_array(weights["b.conv1.weight"]) / factors[:, None, None, None]
    bias = numpy_helper.to_array(weights["b.conv1.bias"]) / factors
    columns = numpy_helper.to_array(weights["b.conv2.weight"]).copy()
    for output in range(4):
        for column in range(4 // group):
            # Output channel `output` is of group output // (4 / group), which reads that many channels further on.
            source = output // (4 // group) * (4 // group) + column
            columns[output, column] *= factors[source]
    for name, array in (("b.conv1.weight", rows), ("b.conv1.bias", bias), ("b.conv2.weight", columns)):
        weights[name].CopyFrom(numpy_helper.from_array(array, name))
    np.testing.assert_allclose(evaluate(model, IMAGES)[0], want, atol=SCALING_TOLERANCE * np.abs(want).max(), rtol=0)


def test_channels_that_a_reshape_moves_to_another_axis_are_not_scalable():
    net = Network()
    net.constants |= {"shape": np.array([0, 4, 4]), "head": np.ones((4, 2), np.float32)}
    net.node("Reshape", "moved", net.conv("c", "x", shape=(4, 3, 1), stride=8), "shape")
    net.node("MatMul", "y", "moved", "head")
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"y": ("n", 4, 2)})
    assert not groups_by_tensor(model)["c"].scalable
