"""Layer times: every convolution is found in the engine's profile, with its work; and layers of two side by side."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from runtime.bench.limits.counted import Counted
from runtime.bench.limits.layer_times import RawLayer, layer_times, raw_layers
from runtime.bench.limits.node_names import NodeNames, is_product
from runtime.bench.limits.side_by_side import Row, side_by_side
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layers import Layer
from runtime.bundle.results.bench_json import LayerTime
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.errors import EngineError, UsageError
from runtime.support.cpu import int8_sums_saturate
from tests.conftest import Exported, Quantized
from tests.helpers.bundles import write_hand_made
from tests.helpers.plans import put_plan, sidecar_fields

RUNS = 10
# ResNet-18 at 224 pixels has 1.814e9 multiply-accumulates (timm's table of its models), at 64 pixels the convolutions'
# 64 x 64 / 224 x 224 of that: 1.8136e9 without the classifier's 512 x 1000. All sides divide by 32 at both sizes.
MACS = (1_814_073_344 - 512_000) * 64 * 64 // (224 * 224) + 512_000
# Ten runs on a machine that others use: a layer that waited once in most runs, or a latency that did. Beyond this the
# two are of different things.
LOOSE = 4.0


def latency_ms(bundle: Bundle, engine: str) -> float:
    """Return the fastest of some calls, by the wall clock."""
    shape = bundle.manifest.preprocessing.pixels_shape
    pixels = np.zeros((1, *shape), np.uint8)
    times = []
    with load_engine(bundle, engine, EngineOptions(threads=1)) as opened:
        for _ in range(RUNS):
            began = time.perf_counter()
            opened.infer(pixels)
            times.append((time.perf_counter() - began) * 1000)
    return min(times)


def check(bundle: Path, engine: str, precision: str) -> tuple[RawLayer, ...]:
    opened = open_bundle(bundle)
    layers = layer_times(opened, engine, batch=1, threads=1, runs=RUNS)
    assert sum(layer.macs for layer in layers) == MACS
    assert {layer.precision for layer in layers if layer.macs and layer.nodes[0] != "fc"} == {precision}
    assert [layer.nodes[0] for layer in layers if layer.reads_image] == ["conv1"]
    assert 1 / LOOSE < sum(layer.ms for layer in layers) / latency_ms(opened, engine.partition(":")[0]) < LOOSE
    return layers


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("stored", ["fp32", "fp16"])
def test_all_products_of_a_float_bundle_are_in_the_profile(exported: Exported, engine: str, stored: str) -> None:
    pytest.importorskip(engine)
    layers = check(exported.fp32 if stored == "fp32" else exported.fp16, engine, "fp32")
    one = next(layer for layer in layers if "layer1.0.conv1" in layer.nodes)
    # 3 x 3 x 64 x 64 weights and 64 biases; 64 x 16 x 16 floats in and as many out.
    assert one.weight_bytes == (3 * 3 * 64 * 64 + 64) * 4
    assert one.activation_bytes == 2 * 64 * 16 * 16 * 4


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.skipif(int8_sums_saturate(), reason="INT8 kernels of this CPU clip sums, so the engines compute in FP32")
def test_all_products_of_an_int8_bundle_are_in_the_profile(quantized: Quantized, engine: str) -> None:
    pytest.importorskip(engine)
    layers = check(quantized.cpu, engine, "int8")
    one = next(layer for layer in layers if "layer1.0.conv1" in layer.nodes)
    assert one.weight_bytes == 3 * 3 * 64 * 64 + 64
    assert one.activation_bytes == 2 * 64 * 16 * 16


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_products_of_an_int8_bundle_are_floats_where_int8_kernels_clip_sums(
    quantized: Quantized, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(engine)
    for module in ("openvino_floats", "ort_session"):
        monkeypatch.setattr(f"runtime.engines.{module}.int8_sums_saturate", lambda: True)
    layers = check(quantized.cpu, engine, "fp32")
    one = next(layer for layer in layers if "layer1.0.conv1" in layer.nodes)
    assert one.activation_bytes == 2 * 64 * 16 * 16 * 4


def test_a_residual_is_read_too(exported: Exported) -> None:
    pytest.importorskip("openvino")
    layers = layer_times(open_bundle(exported.fp32), "openvino", batch=2, threads=1, runs=1)
    one = next(layer for layer in layers if "layer1.0.conv2" in layer.nodes)
    assert one.nodes == ("layer1.0.conv2", "layer1.0.add", "layer1.0.act2")
    # Two images: input, residual and output.
    assert one.activation_bytes == 2 * 3 * 64 * 16 * 16 * 4
    # A 3 x 3 convolution from 64 to 64 channels at 16 x 16.
    assert one.macs == 2 * 3 * 3 * 64 * 64 * 16 * 16


def test_what_has_no_layer_times_is_refused(exported: Exported) -> None:
    bundle = open_bundle(exported.fp32)
    with pytest.raises(UsageError, match="gives no layer times"):
        layer_times(bundle, "pytorch", batch=1, threads=None)
    with pytest.raises(UsageError, match="gives no layer times"):
        layer_times(bundle, "onnxruntime:cuda", batch=1, threads=None)
    with pytest.raises(UsageError, match="at least 1"):
        layer_times(bundle, "openvino", batch=0, threads=None)


def tensor(name: str, shape: list[int], datatype: str) -> dict[str, object]:
    return {"Name": name, "Dimensions": shape, "Format/Datatype": f"Row major linear {datatype}"}


def test_a_plan_has_the_times_of_its_build(tmp_path: Path) -> None:
    path = write_hand_made(tmp_path / "tiny")
    certificate = sidecar_fields(path, b"")["certificate"]
    put_plan(path, certificate={**certificate, "layer_times_ms": {"fc": 0.5, "copy": 0.25, "{ForeignNode[x]}": 1.0}})
    pixels, features = tensor("pixels", [-1, 8, 8, 3], "FP32"), tensor("features", [-1, 8, 8, 3], "FP16")
    layers = [
        {"Name": "copy", "LayerType": "Reformat", "Inputs": [pixels], "Outputs": [features]},
        {
            "Name": "fc",
            "LayerType": "CaskGemmMatrixMultiply",
            "Inputs": [features],
            "Outputs": [tensor("logits", [-1, 3], "FP16")],
            "Metadata": "[ONNX Layer: fc]",
        },
    ]
    (path / "model.plan.layers.json").write_text(json.dumps({"Layers": layers, "Bindings": []}), encoding="utf-8")
    bundle = open_bundle(path)
    copy, product, unlisted = layer_times(bundle, "tensorrt", batch=8, threads=None)
    # 8 images of 8 x 8 x 3 values: 4 bytes each read and 2 written; then 2 read, and 3 logits of 2 written.
    assert (copy.name, copy.ms, copy.moved_bytes, copy.macs) == ("copy", 0.25, 8 * 192 * 6, 0)
    # The bundle says 5 multiply-accumulates and 12 constants; in FP16 they are 24 bytes.
    assert (product.ms, product.macs, product.precision) == (0.5, 40, "fp16")
    assert (product.weight_bytes, product.activation_bytes) == (24, 8 * (192 + 3) * 2)
    assert (unlisted.name, unlisted.ms, unlisted.moved_bytes) == ("{ForeignNode[x]}", 1.0, 0)
    with pytest.raises(UsageError, match="timed at batch 8, not 1"):
        layer_times(bundle, "tensorrt", batch=1, threads=None)


def test_a_plan_that_was_not_timed_is_an_error(tmp_path: Path) -> None:
    path = write_hand_made(tmp_path / "tiny")
    put_plan(path)
    with pytest.raises(EngineError, match="were not timed"):
        layer_times(open_bundle(path), "tensorrt", batch=8, threads=None)


def node(name: str, operator: str, output: str = "", macs: int = 0, parameters: int = 0) -> Layer:
    return Layer(
        name=name,
        operator=operator,
        output=output or name,
        output_shape=(1,),
        parameters=parameters,
        macs=macs,
        weight_bytes=4 * parameters,
        activation_bytes=8,
        precision="fp32",
    )


NODES = (
    node("conv1", "Conv", "bn1", macs=10, parameters=5),
    node("act1", "Relu"),
    node("conv2", "Conv", "bn2", macs=20),
    node("down", "Conv", "down.bn", macs=3),
    node("add", "Add"),
    node("fc", "Gemm", "logits", macs=7),
)


@pytest.mark.parametrize(
    ("names", "operator", "expected"),
    [
        (["conv1"], "FusedConv", ["conv1"]),
        # Named for its output; for the last node that was fused; by a name that was made unique.
        (["bn2_nchwc"], "Conv", ["conv2"]),
        (["act1_nchwc"], "Conv", ["conv1", "act1"]),
        (["conv2_token_23"], "QLinearConv", ["conv2"]),
        (["conv1/WithoutBiases", "conv1", "act1", "Multiply_4456"], "Convolution", ["conv1", "act1"]),
        (["logits"], "FullyConnected", ["fc"]),
        # TensorRT's generated kernels hold a product only where they name it.
        (["conv2", "add"], "kgen", ["conv2", "add"]),
        (["add"], "kgen", ["add"]),
        # What does not multiply takes no product, whatever it is named for.
        (["conv1"], "Reorder", []),
        (["ReorderOutput"], "ReorderOutput", []),
    ],
)
def test_engines_names_are_traced_to_nodes(names: Sequence[str], operator: str, expected: list[str]) -> None:
    assert [layer.name for layer in NodeNames(NODES).find(names, operator)] == expected


def counted(name: str, operator: str, *times_ms: float, precision: str = "fp32", made_of: str = "") -> Counted:
    return Counted(
        name=name,
        made_of=(made_of or name,),
        operator=operator,
        precision=precision,
        times_ms=times_ms,
        activation_bytes=100,
        constant_bytes=9,
    )


def test_a_layer_has_the_median_and_its_nodes_work() -> None:
    one, other = raw_layers(
        [counted("x", "Conv", 3.0, 1.0, 9.0, precision="bf16", made_of="act1"), counted("y", "Reorder", 1.0)],
        NODES[:2],
        batch=4,
        engine="an engine",
    )
    assert (one.name, one.ms, one.macs, one.weight_bytes) == ("conv1 + act1", 3.0, 40, 10)
    assert (other.name, other.macs, other.moved_bytes, other.nodes) == ("y", 0, 109, ())


def test_products_that_no_layer_names_are_an_error() -> None:
    with pytest.raises(EngineError, match=r"names no layer for 3 convolutions of the bundle \(conv2, down, fc\)"):
        raw_layers([counted("conv1", "Conv", 1.0)], NODES, batch=1, engine="an engine")


def test_conversions_are_no_products() -> None:
    assert not any(map(is_product, ("Convert", "Cast", "Reorder", "Relu")))
    assert all(map(is_product, ("Conv", "QLinearConv", "CaskGemmConvolution", "MatMulInteger", "gemm")))


def timed(name: str, operator: str, ms: float, *, macs: int = 0, precision: str = "fp32") -> LayerTime:
    return LayerTime(name=name, operator=operator, macs=macs, moved_bytes=1, precision=precision, ms=ms, bound_ms=None)


FLOATS = (
    timed("conv1 + act1", "Conv", 4.0, macs=10),
    timed("conv2", "Conv", 2.0, macs=20),
    timed("down", "Conv", 1.0, macs=3),
    timed("fc", "Gemm", 0.5, macs=7),
    timed("reorder", "Reorder", 0.25),
)
INTEGERS = (
    timed("conv1", "QLinearConv", 1.0, macs=10, precision="int8"),
    # Both branches in one kernel.
    timed("conv2 + down", "QLinearConv", 1.0, macs=23, precision="int8"),
    timed("fc", "Gemm", 0.5, macs=7),
    timed("reorder", "Reorder", 0.25),
    timed("other", "Transpose", 0.5),
    timed("conv1.weight.dequantize", "DequantizeLinear", 3.5),
    timed("act1.quantize", "QuantizeLinear", 1.5),
)


def test_two_bundles_stand_side_by_side_by_their_nodes() -> None:
    rows, _ = side_by_side(FLOATS, INTEGERS, ("fp32", "int8"))
    assert rows == (
        Row("conv1", 4.0, 1.0, "fp32", "int8", 1, 1),
        Row("conv2", 3.0, 1.0, "fp32", "int8", 2, 1),
        Row("fc", 0.5, 0.5, "fp32", "fp32", 1, 1),
        Row("reformats and casts", 0.25, 0.75, "", "", 1, 2),
        Row("quantise and dequantise", 0.0, 5.0, "", "", 0, 2),
    )


def test_what_eats_the_gain_of_int8_is_said() -> None:
    _, findings = side_by_side(FLOATS, INTEGERS, ("fp32", "int8"), latencies_ms=(8.0, 9.0))
    # 4 + 2 + 1 + 0.5 + 0.25 and 1 + 1 + 0.5 + 0.25 + 0.5 + 3.5 + 1.5 milliseconds.
    assert findings == (
        "fp32 is 1.06 times as fast as int8 by layer times: 7.75 ms against 8.25 ms",
        "convolutions: int8 gains 5 ms, 2.5 ms in 3 layers against 7.5 ms in 4 layers",
        "reformats and casts: int8 loses 0.5 ms, 0.75 ms in 2 layers against 0.25 ms in 1 layer",
        "quantise and dequantise: int8 loses 5 ms, 5 ms in 2 layers against 0 ms in 0 layers",
        "int8: 1 of 3 products runs in floats, 6% of its time: fc",
        "int8: 1 weight is dequantised in every call, 3.5 ms: the engine has no INT8 kernel for these Q/DQ; for"
        " onnxruntime export with `--int8-target cpu`",
        "outside of the layers (calls, launches, copies): 0.25 ms of 8 ms in fp32 and 0.75 ms of 9 ms in int8; no"
        " precision makes that faster",
    )


def test_networks_of_different_work_are_not_compared() -> None:
    with pytest.raises(UsageError, match="do not do the same work"):
        side_by_side(FLOATS, INTEGERS[:2], ("a", "b"))
