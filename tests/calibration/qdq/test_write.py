from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.graph.checks import prepare
from calibration.qdq.placement import place
from calibration.qdq.write import write_qdq
from calibration.weights.scales import WeightQuantization
from runtime.errors import CalibrationError
from runtime.support.cpu import int8_sums_saturate
from tests.helpers.graphs import evaluate, make_model
from tests.helpers.resnet_graphs import Network, basic_block, bottleneck, downsample_block

# float32 sums of a few terms in another order.
SUM_TOLERANCE = 1e-5
# An engine that sums in another order can land one level (1 / 127 of the range) aside at a tie, in few places.
LEVEL_TOLERANCE = 0.02
# Zero points of the two sides of `downsample_block`'s Add.
SIDES = {"b.conv2": 90, "b.downsample": 40}
IMAGES = np.random.default_rng(5).normal(size=(3, 3, 16, 16)).astype(np.float32)


def weights_by_hand(model, names):
    """Symmetric, one scale per row of a Conv, written out."""
    found = {}
    for node in model.graph.node:
        if node.name in names:
            weight = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == node.input[1])
            scales = (np.abs(weight).reshape(len(weight), -1).max(axis=1) / 127).astype(np.float32)
            levels = np.round(weight / scales.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
            found[node.name] = WeightQuantization(levels, scales, 0)
    return found


def quantized(model, *, target="tensorrt", float_weights=False, classifier=False, zero_points=None):
    prepared = prepare(model)
    placement = place(prepared, target=target, classifier=classifier)
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    tensors = [tensor for tensor in placement.activations if tensor.name != "x"]
    known = {value.name for value in exposed.graph.output}
    exposed.graph.output.extend(
        helper.make_tensor_value_info(t.name, TensorProto.FLOAT, None) for t in tensors if t.name not in known
    )
    names = [value.name for value in exposed.graph.output]
    seen = dict(zip(names, evaluate(exposed, IMAGES), strict=True)) | {"x": IMAGES}
    scales = {
        tensor.name: float(np.abs(seen[tensor.name]).max()) / (255 if tensor.unsigned else 127)
        for tensor in placement.activations
    }
    weights = weights_by_hand(model, placement.weights)
    return write_qdq(
        prepared,
        placement,
        activation_scales=scales,
        weights=weights,
        zero_points=zero_points,
        float_weights=float_weights,
    )


def one_convolution():
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(4, 3, 1, 1)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)}
    return make_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv1"),
            helper.make_node("Relu", ["c"], ["y"], name="act1"),
        ],
        constants,
        input_shape=("n", 3, 4, 4),
        outputs={"y": ("n", 4, 4, 4)},
    ), constants


@pytest.mark.parametrize("float_weights", [False, True])
def test_graph_computes_what_numpy_computes_with_halves_to_even_and_clipping(float_weights):
    model, constants = one_convolution()
    rng = np.random.default_rng(4)
    # Multiples of half a level, so that many are ties, and beyond both ends.
    scale = 0.25
    x = (rng.integers(-600, 600, (2, 3, 4, 4)) * scale / 2).astype(np.float32)
    levels = rng.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)
    scales = np.array([0.01, 0.5, 0.03, 1.0], np.float32)
    prepared = prepare(model)
    written = write_qdq(
        prepared,
        place(prepared),
        activation_scales={"x": scale},
        weights={"conv1": WeightQuantization(levels, scales, 0)},
        float_weights=float_weights,
    )
    rounded = np.clip(np.round(x / scale), -128, 127) * scale
    real = levels[:, :, 0, 0].astype(np.float64) * scales[:, None]
    expected = np.maximum(np.einsum("kc,nchw->nkhw", real, rounded) + constants["b"][:, None, None], 0)
    assert (np.abs(x) > 128 * scale).any()
    found = evaluate(written, x)[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=SUM_TOLERANCE * np.abs(expected).max())


def test_weights_are_int8_initializers_and_the_float_ones_are_gone():
    written = quantized(bottleneck())
    types = {name: value.dtype for name, value in written.graph.initializers.items()}
    for name in ("conv1", "b.conv1", "b.conv2", "b.conv3"):
        assert types[f"{name}.weight.int8"] == ir.DataType.INT8
        assert f"{name}.weight" not in types
        assert types[f"{name}.bias"] == ir.DataType.FLOAT
    assert types["fc.weight"] == ir.DataType.FLOAT
    readers = {node.name: node.inputs[1].producer() for node in written.graph if node.op_type == "Conv"}
    assert {producer.op_type for producer in readers.values()} == {"DequantizeLinear"}
    assert all(producer.attributes["axis"].as_int() == 0 for producer in readers.values())


def test_names_follow_the_tensor_and_a_shared_tensor_has_one_pair():
    written = quantized(downsample_block())
    nodes = {node.name: node for node in written.graph}
    assert nodes["act1.quantize"].outputs[0].name == "act1.quantized"
    assert nodes["b.conv1"].inputs[0].name == nodes["b.downsample"].inputs[0].name == "act1.dequantized"
    assert nodes["b.add"].inputs[0].name == "b.conv2"
    assert nodes["b.add"].inputs[1].name == "b.downsample.dequantized"
    assert sum(node.op_type == "QuantizeLinear" for node in written.graph) == 5


def test_zero_points_are_written_out_in_one_type_for_all_activations():
    for target, kind, middle in (("tensorrt", ir.DataType.INT8, 0), ("cpu", ir.DataType.UINT8, 128)):
        nodes = {node.name: node for node in quantized(basic_block(), target=target).graph}
        for name, expected in (("b.act1", 0), ("x", middle)):
            for pair in ("quantize", "dequantize"):
                zero_point = nodes[f"{name}.{pair}"].inputs[2]
                assert (zero_point.dtype, zero_point.const_value.numpy().tolist()) == (kind, expected)


def test_the_target_rtx_has_one_scale_for_a_weight():
    model = basic_block()
    prepared = prepare(model)
    placement = place(prepared, target="rtx")
    name = placement.weights[0]
    by_hand = weights_by_hand(model, placement.weights)
    # All channels share the largest step, as what fits a weight for this target gives it.
    step = np.float32(max(by_hand[name].scales))
    same = {key: replace(one, scales=np.full_like(one.scales, one.scales.max())) for key, one in by_hand.items()}
    written = write_qdq(
        prepared, placement, activation_scales={tensor.name: 0.1 for tensor in placement.activations}, weights=same
    )
    nodes = {node.name: node for node in written.graph}
    dequantize = nodes[f"{name}.weight.dequantize"]
    scale, zero_point = (value.const_value.numpy() for value in dequantize.inputs[1:])
    assert (scale.shape, scale, zero_point.shape, zero_point.dtype) == ((), step, (), np.int8)
    assert "axis" not in dequantize.attributes


def test_batch_stays_dynamic_and_outputs_keep_their_names():
    written = quantized(basic_block())
    assert [value.name for value in written.graph.outputs] == ["logits", "embedding"]
    assert [str(value.shape[0]) for value in (*written.graph.inputs, *written.graph.outputs)] == ["n"] * 3
    whole = evaluate(written, IMAGES)[0]
    for index in range(len(IMAGES)):
        single = evaluate(written, IMAGES[index : index + 1])[0]
        np.testing.assert_allclose(single[0], whole[index], rtol=0, atol=SUM_TOLERANCE * np.abs(whole).max())


def test_the_graph_given_is_not_changed_and_the_bytes_are_the_same_every_time():
    model = bottleneck(group=2)
    prepared = prepare(model)
    before = ir.to_proto(prepared).SerializeToString(deterministic=True)
    placement = place(prepared)
    scales = dict.fromkeys((tensor.name for tensor in placement.activations), 0.1)
    weights = weights_by_hand(model, placement.weights)
    written = [write_qdq(prepared, placement, activation_scales=scales, weights=weights) for _ in range(2)]
    first, second = (ir.to_proto(graph).SerializeToString(deterministic=True) for graph in written)
    assert first == second
    assert ir.to_proto(prepared).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_and_finite_is_refused(scale):
    model, _ = one_convolution()
    prepared = prepare(model)
    with pytest.raises(CalibrationError, match="tensor x has scale"):
        write_qdq(
            prepared,
            place(prepared),
            activation_scales={"x": scale},
            weights=weights_by_hand(model, ("conv1",)),
        )


def test_a_classifier_with_columns_of_outputs_is_dequantised_along_axis_1():
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        "fc.weight": rng.normal(size=(4, 5)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv1"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "fc.weight"], ["logits"], name="fc"),
    ]
    model = make_model(nodes, constants, input_shape=("n", 3, 4, 4), outputs={"logits": ("n", 5)})
    prepared = prepare(model)
    placement = place(prepared, classifier=True)
    levels = rng.integers(-127, 128, (4, 5)).astype(np.int8)
    column_scales = np.linspace(0.01, 0.05, 5).astype(np.float32)
    weights = weights_by_hand(model, ("conv1",)) | {"fc": WeightQuantization(levels, column_scales, 1)}
    scales = dict.fromkeys((tensor.name for tensor in placement.activations), 0.05)
    written = write_qdq(prepared, placement, activation_scales=scales, weights=weights)
    dequantize = next(node for node in written.graph if node.name == "fc").inputs[1].producer()
    assert dequantize.attributes["axis"].as_int() == 1
    exposed = ir.to_proto(written)
    exposed.graph.output.append(helper.make_tensor_value_info("f.dequantized", TensorProto.FLOAT, None))
    logits, features = evaluate(exposed, IMAGES[:, :, :4, :4])
    np.testing.assert_allclose(logits, features @ (levels * column_scales), rtol=0, atol=1e-4)


def run_onnxruntime(written, *, fusion="none"):
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if fusion == "none" else level.ORT_ENABLE_ALL
    options.add_session_config_entry("session.disable_quant_qdq", "0" if fusion == "all" else "1")
    session = onnxruntime.InferenceSession(
        ir.to_proto(written).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": IMAGES})


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
@pytest.mark.parametrize("fusion", ["none", "float", "all"])
def test_onnxruntime_gives_what_the_reference_gives(target, fusion):
    if fusion == "all" and target == "cpu" and int8_sums_saturate():
        pytest.skip("integer kernels of this CPU clip sums; the engine leaves Q/DQ apart here")
    written = quantized(bottleneck(group=2), target=target)
    for want, have in zip(evaluate(written, IMAGES), run_onnxruntime(written, fusion=fusion), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=LEVEL_TOLERANCE * np.abs(want).max())


@pytest.mark.parametrize("fusion", ["none", "float", "all"])
def test_onnxruntime_gives_what_the_reference_gives_with_zero_points_of_its_own_for_each_side(fusion):
    if fusion == "all" and int8_sums_saturate():
        pytest.skip("integer kernels of this CPU clip sums; the engine leaves Q/DQ apart here")
    written = quantized(downsample_block(), target="cpu", zero_points=SIDES)
    for want, have in zip(evaluate(written, IMAGES), run_onnxruntime(written, fusion=fusion), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=LEVEL_TOLERANCE * np.abs(want).max())


@pytest.mark.parametrize(("target", "zero_points"), [("tensorrt", None), ("cpu", None), ("cpu", SIDES)])
def test_openvino_gives_what_the_reference_gives(target, zero_points):
    written = quantized(downsample_block(), target=target, zero_points=zero_points)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(ir.to_proto(written).SerializeToString(), b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = compiled(IMAGES)
    for index, want in enumerate(evaluate(written, IMAGES)):
        np.testing.assert_allclose(found[index], want, rtol=0, atol=LEVEL_TOLERANCE * np.abs(want).max())


def test_float_weights_give_the_same_outputs_as_int8_weights():
    for want, have in zip(
        evaluate(quantized(downsample_block()), IMAGES),
        evaluate(quantized(downsample_block(), float_weights=True), IMAGES),
        strict=True,
    ):
        np.testing.assert_array_equal(have, want)


def test_a_tensor_without_a_scale_is_refused_with_the_next_step():
    model, _ = one_convolution()
    prepared = prepare(model)
    weights = weights_by_hand(model, ("conv1",))
    with pytest.raises(CalibrationError, match=r"tensor x has scale 0.0: expected a positive one; calibrate again"):
        write_qdq(prepared, place(prepared), activation_scales={"y": 1.0}, weights=weights)


def test_unsigned_levels_reach_from_0_to_255():
    net = Network()
    net.node("Relu", "act1", "x")
    net.conv("conv1", "act1", shape=(3, 1, 1), group=3)
    net.constants["conv1.bias"][:] = 0
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"conv1": ("n", 3, 16, 16)})
    prepared = prepare(model)
    weights = {"conv1": WeightQuantization(np.ones((3, 1, 1, 1), np.int8), np.ones(3, np.float32), 0)}
    written = write_qdq(prepared, place(prepared, target="cpu"), activation_scales={"act1": 0.25}, weights=weights)
    images = (np.random.default_rng(6).integers(-600, 600, (2, 3, 16, 16)) / 8).astype(np.float32)
    np.testing.assert_array_equal(evaluate(written, images)[0], np.clip(np.round(images / 0.25), 0, 255) * 0.25)
    assert images.max() > 255 * 0.25


def test_levels_of_a_tensor_that_may_be_negative_reach_from_minus_128_to_127_for_every_target():
    net = Network()
    net.conv("conv1", "x", shape=(3, 1, 1), group=3)
    net.constants["conv1.bias"][:] = 0
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"conv1": ("n", 3, 16, 16)})
    weights = {"conv1": WeightQuantization(np.ones((3, 1, 1, 1), np.int8), np.ones(3, np.float32), 0)}
    # Many lie in the middle between two levels: a zero point may not change to which side they go.
    images = (np.random.default_rng(6).integers(-300, 300, (2, 3, 16, 16)) / 8).astype(np.float32)
    expected = np.clip(np.round(images / 0.25), -128, 127) * 0.25
    for target in ("tensorrt", "cpu"):
        prepared = prepare(model)
        written = write_qdq(prepared, place(prepared, target=target), activation_scales={"x": 0.25}, weights=weights)
        np.testing.assert_array_equal(evaluate(written, images)[0], expected)
    assert images.max() > 127 * 0.25
    assert images.min() < -128 * 0.25


def test_levels_below_zero_are_as_many_as_the_zero_point_says():
    net = Network()
    net.node("Add", "add", net.conv("conv1", "x", shape=(3, 1, 1), group=3), "x")
    net.constants["conv1.weight"][:] = net.constants["conv1.bias"][:] = 0
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"add": ("n", 3, 16, 16)})
    prepared = prepare(model)
    placement = replace(place(prepared, target="cpu"), weights=())
    scales = dict.fromkeys((tensor.name for tensor in placement.activations), 0.25)
    written = write_qdq(prepared, placement, activation_scales=scales, weights={}, zero_points={"x": 40})
    images = (np.random.default_rng(6).integers(-1000, 1000, (2, 3, 16, 16)) / 8).astype(np.float32)
    expected = np.clip(np.round(images / 0.25), -40, 215) * 0.25
    np.testing.assert_array_equal(evaluate(written, images)[0], expected)
    types = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in ir.to_proto(written).graph.initializer}
    assert types["x.zero_point"] == types["zero_point.uint8.128"] == np.uint8


def test_of_a_residual_add_only_the_skip_side_is_rounded():
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(4, 3, 1)))
    net.node("Add", "add", net.conv("conv2", "act1", shape=(4, 4, 1)), "act1")
    net.constants["conv1.bias"][:] = net.constants["conv2.bias"][:] = 0
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"add": ("n", 4, 16, 16)})
    prepared = prepare(model)
    rng = np.random.default_rng(7)
    # Powers of two: every product and sum is exact, so that no rounding depends on the order of a sum.
    levels = {"conv1": rng.integers(-127, 128, (4, 3, 1, 1)), "conv2": rng.integers(-127, 128, (4, 4, 1, 1))}
    scales = {name: np.array([2.0**-7, 2.0**-6, 2.0**-7, 2.0**-5], np.float32) for name in levels}
    weights = {name: WeightQuantization(levels[name].astype(np.int8), scales[name], 0) for name in levels}
    steps = {"x": 2.0**-5, "act1": 2.0**-4}
    written = write_qdq(prepared, place(prepared), activation_scales=steps, weights=weights)

    def rounded(array, step):
        return np.clip(np.round(array / step), -128, 127) * step

    def convolved(name, array):
        real = levels[name][:, :, 0, 0] * scales[name][:, None].astype(np.float64)
        return np.einsum("kc,nchw->nkhw", real, array)

    skip = rounded(np.maximum(convolved("conv1", rounded(IMAGES.astype(np.float64), steps["x"])), 0), steps["act1"])
    np.testing.assert_array_equal(evaluate(written, IMAGES)[0], convolved("conv2", skip) + skip)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("float_weights", [False, True])
def test_a_gemm_has_a_scale_per_output_whichever_way_its_weight_lies(transposed, float_weights):
    rng = np.random.default_rng(8)
    shape = (5, 4) if transposed else (4, 5)
    net = Network()
    net.node("GlobalAveragePool", "pool", net.conv("conv1", "x", shape=(4, 3, 1)))
    net.node("Flatten", "flat", "pool")
    net.constants |= {"w": np.ones(shape, np.float32), "b": rng.normal(size=5).astype(np.float32)}
    net.node("Gemm", "logits", "flat", "w", "b", transB=transposed)
    outputs = {"logits": ("n", 5), "flat": ("n", 4)}
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs=outputs)
    prepared = prepare(model)
    placement = place(prepared, classifier=True)
    levels = rng.integers(-127, 128, shape).astype(np.int8)
    scales = np.geomspace(0.001, 1, 5).astype(np.float32)
    weights = weights_by_hand(model, ("conv1",)) | {
        "logits": WeightQuantization(levels, scales, 0 if transposed else 1)
    }
    steps = dict.fromkeys((tensor.name for tensor in placement.activations), 2.0**-5)
    written = write_qdq(prepared, placement, activation_scales=steps, weights=weights, float_weights=float_weights)
    logits, features = evaluate(written, IMAGES)
    # The output of the pooled features is what they were before their own pair.
    rounded = np.clip(np.round(features / 2.0**-5), -128, 127) * 2.0**-5
    columns = (levels.T if transposed else levels) * scales.astype(np.float64)
    expected = rounded @ columns + net.constants["b"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=SUM_TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("kept", [(), ("conv2",)])
def test_layers_that_share_a_weight_get_one_each_and_one_in_float_keeps_it(kept):
    net = Network()
    net.node("Relu", "act1", net.conv("conv1", "x", shape=(3, 3, 1)))
    net.nodes.append(helper.make_node("Conv", ["act1", "conv1.weight", "conv1.bias"], ["conv2"], name="conv2"))
    model = make_model(net.nodes, net.constants, input_shape=("n", 3, 16, 16), outputs={"conv2": ("n", 3, 16, 16)})
    prepared = prepare(model)
    ones = np.ones(3, np.float32)
    levels = {"conv1": np.full((3, 3, 1, 1), 1, np.int8), "conv2": np.full((3, 3, 1, 1), 2, np.int8)}
    weights = {name: WeightQuantization(values, ones, 0) for name, values in levels.items() if name not in kept}
    placement = place(prepared, keep_float=kept)
    written = write_qdq(prepared, placement, activation_scales={"x": 1.0, "act1": 1.0}, weights=weights)
    initializers = written.graph.initializers
    for name in weights:
        np.testing.assert_array_equal(initializers[f"{name}.weight.int8"].const_value.numpy(), levels[name])
    assert ("conv1.weight" in initializers) == bool(kept)
    assert evaluate(written, IMAGES)[0].shape == IMAGES.shape


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
@pytest.mark.parametrize("float_weights", [False, True])
def test_onnx_accepts_the_graph_in_full(target, float_weights):
    for model in (basic_block(), bottleneck(group=2), downsample_block(pooled=True)):
        written = ir.to_proto(quantized(model, target=target, float_weights=float_weights, classifier=True))
        onnx.checker.check_model(written, full_check=True)
        assert written.graph.input == model.graph.input
        assert [value.name for value in written.graph.output] == [value.name for value in model.graph.output]
        weights = {tensor.name: tensor.data_type for tensor in written.graph.initializer if ".weight." in tensor.name}
        stored = TensorProto.FLOAT if float_weights else TensorProto.INT8
        suffix = "rounded" if float_weights else "int8"
        assert {kind for name, kind in weights.items() if name.endswith(suffix)} == {stored}
        assert sum(name.endswith(suffix) for name in weights) == sum(
            node.op_type in ("Conv", "Gemm") for node in model.graph.node
        )


def test_a_graph_of_opset_13_is_written_in_opset_13():
    # The reference has no DequantizeLinear that old.
    model = bottleneck()
    model.opset_import[0].version = 13
    written = quantized(model)
    assert written.opset_imports[""] == 13
    for want, have in zip(run_onnxruntime(quantized(bottleneck())), run_onnxruntime(written), strict=True):
        np.testing.assert_array_equal(have, want)
