import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from calibration.graph.checks import infer_shapes
from exporter.passes.fp16 import convert_to_fp16
from exporter.passes.ranges import measure_ranges
from tests.helpers.graphs import evaluate, make_model, two_convolutions, two_images

# Twice the unit roundoff of binary16 for each of the two convolutions, with room for the sums.
FP16_TOLERANCE = 8 * 2.0**-11


def _converted(model):
    graph = ir.from_proto(model)
    report = convert_to_fp16(graph, measure_ranges(model, two_images()))
    return infer_shapes(graph), report


def _types(model):
    return {value.name: value.dtype for node in model.graph for value in node.outputs}


def test_outputs_stay_within_fp16_of_the_float_graph():
    model = two_convolutions()
    converted, report = _converted(model)
    expected = evaluate(model, two_images())
    found = evaluate(converted, two_images())
    assert report.fp32_layers == ()
    for want, have in zip(expected, found, strict=True):
        assert have.dtype == np.float32
        np.testing.assert_allclose(have, want, rtol=0, atol=FP16_TOLERANCE * np.abs(want).max())


def test_every_tensor_of_the_body_is_fp16_and_the_normalisation_is_fp32():
    converted, _report = _converted(two_convolutions())
    types = _types(converted)
    assert types["centred"] == ir.DataType.FLOAT
    body = {types[name] for name in ("c1", "r1", "c2", "r2", "p", "embedding.fp16", "logits.fp16")}
    assert body == {ir.DataType.FLOAT16}
    assert (types["logits"], types["embedding"]) == (ir.DataType.FLOAT, ir.DataType.FLOAT)
    assert [(value.name, value.dtype) for value in converted.graph.outputs] == [
        ("logits", ir.DataType.FLOAT),
        ("embedding", ir.DataType.FLOAT),
    ]


def test_no_float_constant_of_the_body_is_left():
    converted, _report = _converted(two_convolutions())
    kept = {name for name, value in converted.graph.initializers.items() if value.dtype == ir.DataType.FLOAT}
    assert kept == {"mean"}


def test_activations_that_overflow_are_named_and_their_layers_stay_fp32():
    model = two_convolutions(first_scale=2e5, second_scale=1e-5)
    converted, report = _converted(model)
    assert report.fp32_layers == ("conv1", "act1", "conv2")
    assert set(report.overflowing) == {"c1", "r1"}
    found, expected = evaluate(converted, two_images()), evaluate(model, two_images())
    for want, have in zip(expected, found, strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=FP16_TOLERANCE * np.abs(want).max())
    assert _types(converted)["c2"] == ir.DataType.FLOAT
    assert _types(converted)["r2"] == ir.DataType.FLOAT16


def test_graph_with_overflow_would_be_infinite_without_the_fp32_layers():
    model = two_convolutions(first_scale=2e5, second_scale=1e-5)
    graph = ir.from_proto(model)
    blind = {name: type(found)(0.0, 1.0) for name, found in measure_ranges(model, two_images()).items()}
    convert_to_fp16(graph, blind)
    with np.errstate(over="ignore", invalid="ignore"):
        logits = evaluate(infer_shapes(graph), two_images())[0]
    assert not np.isfinite(logits).all()


def test_constant_above_the_largest_fp16_number_keeps_its_layer_in_fp32():
    model = two_convolutions()
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            array = onnx.numpy_helper.to_array(tensor).copy()
            array[0, 0] = 70000.0
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, "w2"))
    _graph, report = _converted(model)
    assert "conv2" in report.fp32_layers


def test_weights_that_round_to_zero_are_counted():
    model = two_convolutions()
    total = 0
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name == "w2":
            array.flat[:4] = 1e-9
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, "w2"))
        if tensor.name != "mean":
            total += array.size
    _graph, report = _converted(model)
    assert report.weights_flushed == pytest.approx(4 / total)


def test_constant_shared_by_an_fp32_and_an_fp16_layer_exists_in_both_types():
    rng = np.random.default_rng(0)
    model = make_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c1"], name="conv1"),
            helper.make_node("Mul", ["c1", "tiny"], ["small"], name="mul"),
            helper.make_node("Conv", ["small", "w"], ["c2"], name="conv2"),
            helper.make_node("Relu", ["c2"], ["y"], name="act"),
        ],
        {"w": rng.normal(size=(3, 3, 1, 1)).astype(np.float32), "tiny": np.array(1e-4, np.float32)},
        input_shape=("n", 3, 8, 8),
        outputs={"y": ("n", 3, 8, 8)},
    )
    feed = two_images() * 1000
    graph = ir.from_proto(model)
    report = convert_to_fp16(graph, measure_ranges(model, feed))
    assert report.fp32_layers == ("conv1", "mul")
    want = evaluate(model, feed)[0]
    have = evaluate(infer_shapes(graph), feed)[0]
    np.testing.assert_allclose(have, want, rtol=0, atol=FP16_TOLERANCE * np.abs(want).max())
