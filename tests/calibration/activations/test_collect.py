from math import gcd

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.activations.activation_statistics import CHANNEL_BINS, TENSOR_BINS, TensorStatistics
from calibration.activations.collect import SAMPLED_PER_IMAGE, collect_statistics
from runtime.errors import CalibrationError
from tests.helpers.graphs import IR_VERSION, evaluate

RNG = np.random.default_rng(0)
SIDE = 12
X = RNG.normal(size=(5, 3, SIDE, SIDE)).astype(np.float32) * np.geomspace(0.1, 3, 5, dtype=np.float32).reshape(
    5, 1, 1, 1
)
WEIGHT = RNG.normal(size=(6, 3, 3, 3)).astype(np.float32)
BIAS = RNG.normal(size=6).astype(np.float32)
CLASSIFIER = RNG.normal(size=(6, 4)).astype(np.float32)
TENSORS = {"x": False, "conv1": False, "act1": True, "embedding": True}
# Sums of 27 products of size 1 in another order than the reference's.
RTOL, ATOL = 1e-5, 1e-5


def network(
    weight: npt.NDArray[np.float32] = WEIGHT,
    bias: npt.NDArray[np.float32] = BIAS,
    *,
    opset: int = 20,
    side: int | str = SIDE,
) -> onnx.ModelProto:
    """Convolution, ReLU, global pool, classifier."""
    nodes = [
        helper.make_node("Conv", ["x", "weight", "bias"], ["conv1"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv1"], ["act1"], name="relu"),
        helper.make_node("GlobalAveragePool", ["act1"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "classifier"], ["logits"], name="fc"),
    ]
    constants = {"weight": weight, "bias": bias, "classifier": CLASSIFIER[: len(bias)]}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, side, side))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", 4))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def activations(model: onnx.ModelProto, x: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Every tensor by onnx's reference evaluator, (N, C, H * W); the input as it is."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    names = [name for name in TENSORS if name != "x"]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    found = dict(zip(names, evaluate(watched, x), strict=True)) | {"x": x}
    return {name: array.reshape(*array.shape[:2], -1) for name, array in found.items()}


def batches(x: npt.NDArray[np.float32], size: int) -> list[npt.NDArray[np.generic]]:
    return [x[start : start + size] for start in range(0, len(x), size)]


def collect(model: onnx.ModelProto, x: npt.NDArray[np.float32] = X, size: int = 2) -> dict[str, TensorStatistics]:
    return collect_statistics(model, TENSORS, batches(x, size), threads=1)


def check_histogram(counts: npt.NDArray[np.int64], values: npt.NDArray[np.float32], width: float) -> None:
    """As NumPy's, but for values that rounding in another order may carry over an edge."""
    edges = np.arange(len(counts) + 1) * width
    magnitudes = np.abs(values).astype(np.float64)
    slack = RTOL * magnitudes + ATOL
    lowest, highest = (
        np.histogram(np.maximum(moved, 0), edges)[0].cumsum() for moved in (magnitudes + slack, magnitudes - slack)
    )
    assert counts.sum() == values.size
    assert (counts.cumsum() >= lowest).all()
    assert (counts.cumsum() <= highest).all()


@pytest.mark.parametrize("opset", [13, 20])
def test_statistics_are_those_of_the_reference_evaluators_activations(opset: int) -> None:
    model = network(opset=opset)
    found = collect(model)
    for name, values in activations(model, X).items():
        statistics = found[name]
        assert (statistics.name, statistics.images) == (name, len(X))
        np.testing.assert_allclose(statistics.high, values.max(axis=(0, 2)), rtol=RTOL, atol=ATOL)
        lowest = np.zeros(values.shape[1]) if TENSORS[name] else values.min(axis=(0, 2))
        np.testing.assert_allclose(statistics.low, lowest, rtol=RTOL, atol=ATOL)
        # All positions are sampled: the tensors are small.
        check_histogram(statistics.counts, values, statistics.width)
        for channel in range(values.shape[1]):
            width = statistics.channels.widths[channel]
            check_histogram(statistics.channels.counts[channel], values[:, channel], width)
        for half in (0, 1):
            assert statistics.halves.counts[half].sum() == values[half::2].size


def test_the_input_is_measured_exactly() -> None:
    found = collect(network())["x"]
    assert found.low.tolist() == X.min(axis=(0, 2, 3)).tolist()
    assert found.high.tolist() == X.max(axis=(0, 2, 3)).tolist()
    edges = np.arange(TENSOR_BINS + 1) * found.width
    assert found.counts.tolist() == np.histogram(np.abs(X).astype(np.float64), edges)[0].tolist()


@pytest.mark.parametrize("size", [1, 3])
def test_statistics_of_the_input_do_not_depend_on_the_batches(size: int) -> None:
    found, whole = (collect(network(), size=count)["x"] for count in (size, len(X)))
    assert found.halves.counts.tobytes() == whole.halves.counts.tobytes()
    assert found.channels.counts.tobytes() == whole.channels.counts.tobytes()
    assert found.channels.exponents.tobytes() == whole.channels.exponents.tobytes()


@pytest.mark.parametrize(("height", "width"), [(60, 60), (56, 64), (70, 49), (7, 7)])
def test_the_sample_walks_through_all_columns(height: int, width: int) -> None:
    # The value is the column, so the histogram shows which columns were sampled.
    channels = 6 * SAMPLED_PER_IMAGE // 3600 if height > 7 else 2048
    x = np.broadcast_to(np.arange(width, dtype=np.float32), (1, channels, height, width)).copy()
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, channels, 1, 1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=IR_VERSION)
    found = collect_statistics(model, {"x": True}, [x], threads=1)["x"]
    wanted = -(-x.size // SAMPLED_PER_IMAGE)
    stride = next(step for step in range(wanted, wanted + width) if gcd(step, width) == 1)
    assert stride > 1
    columns = np.arange(height * width)[::stride] % width
    assert found.channels.counts.shape == (channels, CHANNEL_BINS)
    expected = np.histogram(columns, np.arange(CHANNEL_BINS + 1) * found.channels.widths[0])[0]
    assert (found.channels.counts == expected).all()
    assert len(set(columns.tolist())) == min(width, len(columns))
    assert found.counts.sum() <= SAMPLED_PER_IMAGE + channels


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("constant", ["weight", "bias"])
def test_a_parameter_that_is_not_finite_names_the_layer(bad: float, constant: str) -> None:
    weight, bias = WEIGHT.copy(), BIAS.copy()
    (weight if constant == "weight" else bias)[2] = bad
    with pytest.raises(CalibrationError, match=r"Conv stem \(tensor conv1\) gives NaN or infinity"):
        collect(network(weight, bias))


@pytest.mark.parametrize(
    ("weight", "bias"),
    # The last is of finite values, whose sums are beyond float32.
    [(np.nan, 0), (np.inf, 0), (1, np.nan), (1, np.inf), (3e38, 0)],
)
def test_the_layer_named_is_where_the_fault_begins_though_only_what_follows_is_measured(
    weight: float, bias: float
) -> None:
    faulty, shift = WEIGHT.copy(), BIAS.copy()
    faulty[2], shift[2] = weight, bias
    with pytest.raises(CalibrationError, match=r"^Conv stem \(tensor conv1\) gives NaN or infinity"):
        collect_statistics(network(faulty, shift), {"embedding": True}, [np.abs(X) + 1], threads=1)


def test_an_input_that_is_not_measured_is_named_when_it_is_not_finite() -> None:
    x = X.copy()
    x[1, 1, 3, 3] = np.nan
    with pytest.raises(CalibrationError, match=r"^the input x gives NaN or infinity"):
        collect_statistics(network(), {"embedding": True}, [x], threads=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(4, 2, 0, 0), (4, 2, 5, 7), (3, 1, SIDE - 1, SIDE - 1)])
def test_one_bad_value_of_an_image_is_seen_wherever_it_stands(bad: float, at: tuple[int, ...]) -> None:
    x = X.copy()
    x[at] = bad
    with pytest.raises(CalibrationError, match="the input x gives NaN or infinity"):
        collect(network(), x)


def test_one_nan_that_the_sample_misses_is_seen() -> None:
    # 64 channels of 64 x 64 are sampled at every 17th position, and onnxruntime's ReduceMax passes NaN over.
    x = np.ones((1, 64, 64, 64), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[64, 64])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 64, 1, 1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=IR_VERSION)
    x[0, 9, 0, 18] = np.nan
    for nonnegative in (True, False):
        with pytest.raises(CalibrationError, match="the input x"):
            collect_statistics(model, {"x": nonnegative}, [x], threads=1)


def test_logits_that_are_not_finite_are_refused_though_nothing_measured_is() -> None:
    model = network()
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.full((6, 4), np.nan, np.float32), "classifier"))
    with pytest.raises(CalibrationError, match=r"Gemm fc \(tensor logits\)"):
        collect(model)


def test_large_values_whose_sum_is_infinite_are_no_fault() -> None:
    x = np.full_like(X, 3e38)
    found = collect_statistics(network(WEIGHT * 0), {"x": True}, [x], threads=1)["x"]
    assert found.high.tolist() == [float(np.float32(3e38))] * 3


def test_dead_channels_and_dead_tensors_are_measured_as_zero() -> None:
    weight, bias = WEIGHT.copy(), BIAS.copy()
    weight[2], bias[2] = 0, 0
    statistics = collect(network(weight, bias))["act1"]
    assert statistics.channel_amax[2] == 0
    assert statistics.channels.counts[2].tolist() == [len(X) * SIDE * SIDE] + [0] * (CHANNEL_BINS - 1)
    dead = collect(network(WEIGHT * 0, BIAS * 0))["act1"]
    assert dead.amax == 0
    assert dead.counts[0] == dead.counts.sum() == len(X) * 6 * SIDE * SIDE


def test_a_tensor_without_a_fixed_height_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"tensor x has shape .*fixed height and width"):
        collect(network(side="side"))


def test_a_tensor_that_the_graph_does_not_have_is_refused() -> None:
    with pytest.raises(CalibrationError, match="tensor missing has shape"):
        collect_statistics(network(), {"missing": True}, [X], threads=1)


def test_the_graph_is_not_changed() -> None:
    model = network()
    before = model.SerializeToString()
    collect(model)
    assert model.SerializeToString() == before


def summed(channels: int = 4, *, relu: bool = True) -> onnx.ModelProto:
    """Two inputs' sum behind a ReLU: of one convolution each, so that both sides are tensors of the graph."""
    rng = np.random.default_rng(3)
    constants = {name: rng.normal(size=(channels, 3, 1, 1)).astype(np.float32) for name in ("one", "other")}
    nodes = [
        helper.make_node("Conv", ["x", "one"], ["a"], name="conv_a"),
        helper.make_node("Conv", ["x", "other"], ["b"], name="conv_b"),
        helper.make_node("Add", ["a", "b"], ["sum"], name="add"),
        helper.make_node("Relu", ["sum"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes if relu else nodes[:3],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("y" if relu else "sum", TensorProto.FLOAT, ("n", channels, SIDE, SIDE))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=IR_VERSION)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def test_what_a_relu_hides_of_a_side_counts_no_further_below_zero_than_the_other_side_lifts_it() -> None:
    model = summed()
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    a, b = (np.einsum("kc,nchw->nkhw", weights[name][:, :, 0, 0], X) for name in ("one", "other"))
    found = collect_statistics(model, {"a": False, "b": False}, batches(X, 2), partners={"a": "b"}, threads=1)
    # Everything of `a` between -b and 0 is kept, and what is below stands at -b: the ReLU cannot tell.
    matters = np.where(a + b > 0, a, np.where(b > 0, -b, np.maximum(a, 0)))
    np.testing.assert_array_equal(np.maximum(matters + b, 0) > 0, a + b > 0)
    flat = matters.reshape(*matters.shape[:2], -1)
    np.testing.assert_allclose(found["a"].low, flat.min(axis=(0, 2)), rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(found["a"].high, flat.max(axis=(0, 2)), rtol=RTOL, atol=ATOL)
    check_histogram(found["a"].counts, flat, found["a"].width)
    assert found["a"].low.min() > a.min() + 0.5
    # The side that has no partner is measured as it is.
    np.testing.assert_allclose(found["b"].low, b.min(axis=(0, 2, 3)), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_side_that_is_not_finite_is_named_also_where_a_relu_hides_it(bad: float) -> None:
    model = summed()
    (one,) = [tensor for tensor in model.graph.initializer if tensor.name == "one"]
    weight = numpy_helper.to_array(one).copy()
    weight[1, :] = bad
    one.CopyFrom(numpy_helper.from_array(weight, "one"))
    with pytest.raises(CalibrationError, match=r"^Conv conv_a \(tensor a\) gives NaN or infinity"):
        collect_statistics(model, {"a": False, "b": False}, [np.abs(X) + 1], partners={"a": "b", "b": "a"}, threads=1)
