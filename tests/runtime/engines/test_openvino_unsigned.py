"""Signed activations behind a ReLU run as unsigned ones in OpenVINO, with the values that ONNX defines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from onnx import helper, numpy_helper

from runtime.bundle.bundle import open_bundle
from runtime.engines.openvino_engine import read_graph
from runtime.engines.openvino_unsigned import make_unsigned
from tests.helpers.exported import decibels
from tests.helpers.graphs import evaluate, make_model

# Sums of 72 products in another order.
ROUNDINGS: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-4}
# A power of two: a value half way between two integers is exactly there after the division.
SCALE = np.float32(2**-5)
POOL: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}


def network(before: Sequence[str], zero: np.generic, *, twice: bool = False, kind: type[Any] = np.float32) -> Any:
    """Operators, Q/DQ and a padded convolution; `twice`: the first one's output is an output of the network too."""
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "scale": np.array(SCALE, kind),
        "zero": np.asarray(zero),
        "weight": rng.integers(-128, 128, (4, 8, 3, 3)).astype(np.int8),
        "weight_scale": np.full(4, 0.01, kind),
        "weight_zero": np.zeros(4, np.int8),
    }
    nodes = [helper.make_node("Cast", ["x"], ["v0"], to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))]
    for place, name in enumerate(before):
        settings: dict[str, Any] = POOL if name == "MaxPool" else {}
        nodes.append(helper.make_node(name, [f"v{place}"], [f"v{place + 1}"], name=f"{name}_{place}", **settings))
    last = f"v{len(before)}"
    nodes += [
        helper.make_node("QuantizeLinear", [last, "scale", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["dq", "w"], ["map"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["map"], ["logits"], to=1),
    ]
    outputs: dict[str, Any] = {"logits": ("batch", 4, None, None)}
    if twice:
        nodes.append(helper.make_node("Cast", ["v1"], ["also"], to=1))
        outputs["also"] = ("batch", 8, None, None)
    return make_model(nodes, constants, input_shape=("batch", 8, 12, 12), outputs=outputs)


def images() -> np.ndarray:
    """Values from far below zero to far above what 127 steps hold, ties between two integers among them."""
    return (np.random.default_rng(1).integers(-300, 400, (2, 8, 12, 12)) / 2 * SCALE).astype(np.float32)


def rewritten(model: onnx.ModelProto) -> Any:
    return make_unsigned(openvino.Core().read_model(model.SerializeToString()))


def integers(graph: Any) -> list[str]:
    """The types that the FakeQuantize of a graph are converted to."""
    nodes = [node for node in graph.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    readers = [reader.get_node() for node in nodes for reader in node.output(0).get_target_inputs()]
    return [reader.get_element_type().get_type_name() for reader in readers]


def run(graph: Any, x: np.ndarray) -> list[np.ndarray]:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(x)
    return [results[output] for output in compiled.outputs]


@pytest.mark.parametrize("twice", [False, True], ids=["alone", "read-twice"])
@pytest.mark.parametrize("before", [["Relu"], ["Relu", "MaxPool"], ["Relu", "MaxPool", "MaxPool"]], ids="-".join)
def test_behind_a_relu_the_integers_are_unsigned_and_the_values_are_onnxs(before: list[str], *, twice: bool) -> None:
    model, x = network(before, np.int8(0), twice=twice), images()
    graph = rewritten(model)
    assert integers(graph) == ["u8"]
    for found, expected in zip(run(graph, x), evaluate(model, x), strict=True):
        np.testing.assert_allclose(found, expected, **ROUNDINGS)


def test_the_pool_reads_integers_and_the_clamp_has_the_relus_name() -> None:
    for zero in (np.int8(0), np.uint8(0)):
        graph = rewritten(network(["Relu", "MaxPool"], zero))
        nodes = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
        assert nodes["MaxPool_1"].input_value(0).get_node().get_type_name() == "Multiply"
        assert nodes["Relu_0"].get_type_name() == ("Clamp" if zero.dtype == np.int8 else "Relu")


def test_fp16_graphs_are_rewritten_too() -> None:
    model, x = network(["Relu", "MaxPool"], np.int8(0), kind=np.float16), images()
    graph = rewritten(model)
    assert integers(graph) == ["u8"]
    expected = evaluate(model, x)[0]
    # The sum itself is FP16 in the reference: 2**-11 of it.
    np.testing.assert_allclose(run(graph, x)[0], expected, rtol=2**-10, atol=2**-10 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("before", "zero"),
    [
        (["Identity"], np.int8(0)),
        (["MaxPool"], np.int8(0)),
        (["Relu"], np.int8(4)),
        (["Relu", "MaxPool"], np.uint8(4)),
        (["Relu"], np.uint8(0)),
    ],
    ids=["no-relu", "pool-alone", "zero-point", "unsigned-zero-point", "unsigned"],
)
# An even zero point: OpenVINO adds it before it rounds, and an odd one would turn ties the other way.
def test_what_may_be_negative_or_has_a_zero_point_stays(before: list[str], zero: np.generic) -> None:
    model, x = network(before, zero), images()
    graph = rewritten(model)
    assert integers(graph) == [{"int8": "i8", "uint8": "u8"}[zero.dtype.name]]
    assert "Clamp" not in {node.get_type_name() for node in graph.get_ordered_ops()}
    np.testing.assert_allclose(run(graph, x)[0], evaluate(model, x)[0], **ROUNDINGS)


def test_scales_by_channel_stay() -> None:
    model, x = network(["Relu"], np.int8(0)), images()
    for tensor in model.graph.initializer:
        if tensor.name in ("scale", "zero"):
            kind = np.float32 if tensor.name == "scale" else np.int8
            values = np.arange(1, 9) * SCALE if tensor.name == "scale" else np.zeros(8)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(kind), tensor.name))
    graph = rewritten(model)
    assert integers(graph) == ["i8"]
    np.testing.assert_allclose(run(graph, x)[0], evaluate(model, x)[0], **ROUNDINGS)


def test_two_readers_of_the_integers_leave_the_pool_where_it_is() -> None:
    model, x = network(["Relu", "MaxPool"], np.int8(0)), images()
    # A branch of its own, as the skip of a residual block that has a DequantizeLinear of its own.
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["also"]))
    model.graph.output.append(helper.make_tensor_value_info("also", 1, ("batch", 8, None, None)))
    graph = rewritten(model)
    pool = next(node for node in graph.get_ordered_ops() if node.get_type_name() == "MaxPool")
    assert pool.input_value(0).get_node().get_type_name() == "Clamp"
    assert integers(graph) == ["u8"]
    for found, expected in zip(run(graph, x), evaluate(model, x), strict=True):
        np.testing.assert_allclose(found, expected, **ROUNDINGS)


def test_a_bundle_for_tensorrt_has_no_signed_activation_behind_a_relu(
    quantized: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.engines.openvino_engine.int8_kernels_differ", lambda: False)
    bundle = open_bundle(quantized.tensorrt)
    graph = read_graph(openvino.Core(), bundle, "CPU")
    before = set()
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and float(node.input_value(3).get_node().get_data()) < 0:
            # The bundle's floats are FP16, and converted before they are quantised.
            source = node.input_value(0).get_node()
            while source.get_type_name() == "Convert":
                source = source.input_value(0).get_node()
            before.add(source.get_type_name())
    # The image, and the downsample branches' convolutions with their biases.
    assert before == {"Divide", "Add"}
    golden = bundle.golden()
    outputs = run(graph, golden.pixels)
    assert decibels(golden.logits, outputs[0]) >= bundle.manifest.precision.min_sqnr_db
