import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from calibration.activations.activation_statistics import Accumulator, TensorStatistics
from calibration.activations.thresholds import METHODS, threshold
from calibration.graph.channel_groups import channel_groups
from calibration.graph.checks import prepare
from calibration.graph.edit import replace_constant
from calibration.options import Method
from calibration.weights.equalize import FLOOR, apply_factors, channel_factors, equalize, equalize_statistics
from tests.helpers.graphs import evaluate, make_model
from tests.helpers.resnet_graphs import Network, basic_block, group_norm_bottleneck

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 16, 16)).astype(np.float32)
# A factor is divided out of one weight and multiplied into the next, each rounded to float32 once.
TOLERANCE = 1e-5
# A channel's bin is 0.8 to 1.6 % of its largest magnitude, and where in it the values lie is not known.
THRESHOLD_TOLERANCE = 0.016


def network(*, trans_b: int = 1, group: int = 2) -> onnx.ModelProto:
    """Stem, max pool, a bottleneck with a grouped convolution, its residual Add, and a classifier by Gemm."""
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(8, 3, 3)))
    net.node("MaxPool", "maxpool", "act1", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Relu", "b.act1", net.conv("b.conv1", "maxpool", shape=(4, 8, 1)))
    net.node("Relu", "b.act2", net.conv("b.conv2", "b.act1", shape=(6, 4 // group, 3), group=group))
    net.node("Add", "b.add", net.conv("b.conv3", "b.act2", shape=(8, 6, 1)), "maxpool")
    net.node("Relu", "b.act3", "b.add")
    net.node("GlobalAveragePool", "pooled", "b.act3")
    net.node("Flatten", "flat", "pooled")
    net.constants["fc.weight"] = net.rng.normal(size=(5, 8) if trans_b else (8, 5)).astype(np.float32)
    net.nodes.append(helper.make_node("Gemm", ["flat", "fc.weight"], ["logits"], name="fc", transB=trans_b))
    return make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"logits": ("n", 5)})


def tensor_values(model: ir.Model, name: str) -> npt.NDArray[np.float32]:
    """A tensor inside the graph by onnx's reference evaluator, (N, C, H * W)."""
    proto = ir.to_proto(model)
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    values = evaluate(proto, X)[0]
    return values.reshape(*values.shape[:2], -1)


def ranges_of(model: ir.Model) -> dict[str, npt.NDArray[np.float64]]:
    """Drawn ranges, three orders of magnitude apart, for every tensor of every group."""
    groups = channel_groups(model)
    return {name: np.exp(RNG.uniform(-7, 0, group.channels)) for group in groups for name in group.tensors}


def gather(values: npt.NDArray[np.float32]) -> TensorStatistics:
    accumulator = Accumulator("t", values.shape[1])
    accumulator.add(values.min(axis=2), values.max(axis=2), values.copy())
    return accumulator.finish()


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("group", [1, 2])
def test_the_function_stays_the_same_through_pool_residual_and_groups(trans_b: int, group: int) -> None:
    model = prepare(network(trans_b=trans_b, group=group))
    # The residual stream with its classifier, and the two tensors inside the block.
    assert_equalized(model, {"conv1", "maxpool", "b.add", "flat", "b.act1", "b.act2"})


def test_the_function_stays_the_same_behind_group_norms() -> None:
    """Their scales and biases are divided; what a convolution before one writes keeps its values."""
    model = prepare(group_norm_bottleneck(embedding=False))
    found = assert_equalized(model, {"conv1.norm.mul", "act1", "b.act1", "b.act2", "b.add", "b.act3"})
    assert not {"conv1", "b.conv1", "b.conv2", "b.conv3", "b.conv1.norm.back"} & found


def assert_equalized(model: ir.Model, wanted: set[str]) -> set[str]:
    """Assert that equalising divides these tensors and leaves the outputs alone; return all that are divided."""
    equalized, factors = equalize(model, channel_groups(model), ranges_of(model))
    assert wanted <= factors.keys()
    expected, found = evaluate(model, X)[0], evaluate(equalized, X)[0]
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())
    for name, divisors in factors.items():
        before, after = tensor_values(model, name), tensor_values(equalized, name)
        assert divisors.min() < 0.5
        expected = before / divisors[:, None]
        np.testing.assert_allclose(after, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())
    return set(factors)


def test_the_embedding_and_its_stream_keep_their_values() -> None:
    model = prepare(basic_block(embedding=True))
    equalized, factors = equalize(model, channel_groups(model), ranges_of(model))
    assert set(factors) == {"b.conv1", "b.act1"}
    for expected, found in zip(evaluate(model, X), evaluate(equalized, X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_graph_given_is_not_changed() -> None:
    model = prepare(network())
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    equalize(model, channel_groups(model), ranges_of(model))
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_a_group_that_no_factors_are_given_for_keeps_its_weights() -> None:
    model = prepare(network())
    same = apply_factors(model, channel_groups(model), {})
    for name, value in model.graph.initializers.items():
        kept = same.graph.initializers[name].const_value
        assert value.const_value is not None
        assert kept is not None
        assert kept.numpy().tobytes() == value.const_value.numpy().tobytes()


def test_factors_are_a_channels_range_over_the_largest() -> None:
    first, second = np.array([1.0, 0.5, 0.0, 0.002]), np.array([0.25, 2.0, 0.0, 0.001])
    # The widest of either is 1, 2, 0 and 0.002, and the largest of those 2.
    assert channel_factors([first, second]).tolist() == [0.5, 1.0, FLOOR, 0.001]
    assert channel_factors([first]).tolist() == [1.0, 0.5, FLOOR, 0.002]


def test_a_group_that_was_always_zero_gets_factors_of_one() -> None:
    assert channel_factors([np.zeros(3)]).tolist() == [1.0, 1.0, 1.0]


def chain(*, shared_bias: bool, shared_weight: bool) -> onnx.ModelProto:
    """Three 1x1 convolutions one behind the other that may share parameters."""
    net = Network()
    net.node("Relu", "act0", net.conv("c0", "x", shape=(3, 3, 1)))
    net.node("Relu", "act1", net.conv("c1", "act0", shape=(3, 3, 1)))
    net.conv("c2", "act1", shape=(3, 3, 1))
    for node in net.nodes:
        if node.op_type == "Conv":
            if shared_weight:
                node.input[1] = "c0.weight"
            if shared_bias:
                node.input[2] = "c0.bias"
    used = {name for node in net.nodes for name in node.input}
    constants = {name: array for name, array in net.constants.items() if name in used}
    return make_model(net.nodes, constants, input_shape=("n", 3, 16, 16), outputs={"c2": ("n", 3, 16, 16)})


@pytest.mark.parametrize("shared_weight", [False, True])
@pytest.mark.parametrize("shared_bias", [False, True])
def test_shared_initializers_are_parted_where_their_factors_differ(shared_weight: bool, shared_bias: bool) -> None:
    model = prepare(chain(shared_bias=shared_bias, shared_weight=shared_weight))
    equalized, factors = equalize(model, channel_groups(model), ranges_of(model))
    assert set(factors) == {"c0", "act0", "c1", "act1"}
    proto = ir.to_proto(equalized)
    onnx.checker.check_model(proto, full_check=True)
    used = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= used
    expected = evaluate(model, X)[0]
    found = evaluate(proto, X)[0]
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


def test_a_constant_that_another_node_reads_too_stays_for_that_node() -> None:
    model = prepare(chain(shared_bias=True, shared_weight=False))
    nodes = {node.name: node for node in model.graph}
    shared = nodes["c0"].inputs[2]
    replace_constant(model.graph, nodes["c1"], 2, np.array([1.0, 2.0, 1 / 3]))
    replaced = nodes["c1"].inputs[2]
    assert nodes["c0"].inputs[2] is nodes["c2"].inputs[2] is shared
    assert replaced is not None
    assert replaced.const_value is not None
    assert replaced.name == "c1.c0.bias"
    assert replaced.const_value.numpy().tolist() == np.array([1.0, 2.0, 1 / 3], np.float32).tolist()


def activations() -> npt.NDArray[np.float32]:
    """Channels of unlike range behind a ReLU, and a dead one, (N, C, S)."""
    values = np.maximum(RNG.normal(size=(6, 5, 4000)) + 0.2, 0) * np.array([1, 0.3, 0.04, 0.5, 0])[:, None]
    return values.astype(np.float32)


def test_statistics_are_those_of_the_divided_activations() -> None:
    values = activations()
    factors = np.array([1.0, 0.3, 0.04, 0.6, FLOOR])
    divided = (values / factors[:, None]).astype(np.float32)
    found, expected = equalize_statistics(gather(values), factors), gather(divided)
    assert (found.name, found.images) == ("t", 6)
    np.testing.assert_allclose(found.low, expected.low, rtol=1e-6)
    np.testing.assert_allclose(found.high, expected.high, rtol=1e-6)
    assert found.width == expected.width
    # No value is lost or made up by rounding to whole counts.
    assert found.counts.sum() == values.size
    # ReLU's zeros stay in the first bin; values lie evenly inside each channel's bin, so that the distributions
    # differ by less than one channel's bin holds.
    difference = np.abs(found.counts.cumsum() - expected.counts.cumsum())
    assert difference.max() < values.size * 0.005
    zeros = int((divided == 0).sum())
    assert abs(int(found.counts[0]) - zeros) < zeros * 0.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("behind_relu", [True, False])
def test_thresholds_are_those_of_the_divided_activations(method: Method, behind_relu: bool) -> None:
    values = RNG.normal(size=(4, 32, 1000)) * np.exp(RNG.uniform(-3, 0, (32, 1)))
    values = (np.maximum(values, 0) if behind_relu else values).astype(np.float32)
    factors = np.abs(values).max(axis=(0, 2)) / np.abs(values).max()
    found = equalize_statistics(gather(values.astype(np.float32)), factors.astype(np.float64))
    expected = gather((values / factors[:, None]).astype(np.float32))
    ours, theirs = (threshold(s.counts, s.width, s.amax, method=method, levels=255) for s in (found, expected))
    assert abs(ours - theirs) <= theirs * THRESHOLD_TOLERANCE


def test_zeros_of_dead_channels_stay_in_the_tensors_histogram() -> None:
    values = np.zeros((1, 3, 100), np.float32)
    values[0, 0] = np.linspace(0.01, 0.9, 100)
    found = equalize_statistics(gather(values), np.array([1.0, FLOOR, FLOOR]))
    assert found.counts[0] == 200
    assert found.counts.sum() == 300


def test_a_tensor_that_was_always_zero_stays_so() -> None:
    found = equalize_statistics(gather(np.zeros((2, 3, 10), np.float32)), np.ones(3))
    assert found.amax == 0
    assert found.counts.sum() == found.counts[0] == 60
