"""The roofline: hand-worked bounds, probed rates that layers do not beat, and what is said of the worst layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from runtime.bench.limits.layer_times import RawLayer, layer_times
from runtime.bench.limits.limit import bound_ms, find_limit, find_limits, main_precision, why_no_limit
from runtime.bench.limits.probe import MoveRate, Rates, probe_rates
from runtime.bench.limits.tiny_onnx import tiny_model
from runtime.bench.subjects import Subject
from runtime.bundle.bundle import open_bundle
from runtime.bundle.results.bench_json import Interval, Latency, Measured
from runtime.errors import EngineError
from runtime.support.progress import Listener
from tests.conftest import Exported

# 100e9 multiply-accumulates, and 50e9 bytes in a cache or 10e9 beyond it, per second.
RATES = Rates(gmacs_per_s=100.0, moves=(MoveRate(1_000_000, 50.0), MoveRate(100_000_000, 10.0)))


def layer(
    name: str,
    ms: float,
    macs: float = 0,
    weights: float = 0,
    activations: float = 0,
    operator: str = "Conv",
    precision: str = "int8",
    reads_image: bool = False,
) -> RawLayer:
    return RawLayer(
        name=name,
        operator=operator,
        precision=precision,
        ms=ms,
        nodes=(name,),
        macs=int(macs),
        weight_bytes=int(weights),
        activation_bytes=int(activations),
        reads_image=reads_image,
    )


def measured(median_ms: float) -> Measured:
    zero = Interval(low=median_ms, high=median_ms)
    latency = Latency(
        runs=1,
        median_ms=median_ms,
        median_ci95=zero,
        mean_ms=median_ms,
        mean_ci95=zero,
        min_ms=median_ms,
        max_ms=median_ms,
        p90_ms=None,
        p95_ms=None,
        p99_ms=None,
        p99_ci95=None,
    )
    return Measured(
        name="a",
        kind="bundle",
        bundle="a",
        engine="openvino",
        precision="int8",
        batch=1,
        threads=None,
        scope="model",
        latency=latency,
        images_per_s=1.0,
        load_ms=None,
        first_ms=None,
        peak_memory_mb=None,
        rounds_ms=((median_ms,),),
    )


@pytest.mark.parametrize(
    ("one", "expected_ms"),
    [
        # 200e6 / 100e9 s of arithmetic against 0.5e6 / 50e9 s of bytes.
        (layer("compute", 9.0, macs=200e6, activations=0.5e6), 2.0),
        # 0.6e6 / 50e9 s of bytes against 1e5 / 100e9 s.
        (layer("cached", 9.0, macs=1e5, weights=0.2e6, activations=0.4e6), 0.012),
        # Only the large copy moved so many: 20e6 / 10e9 s.
        (layer("memory", 9.0, weights=20e6), 2.0),
        # More than any copy: the largest one's rate, 200e6 / 10e9 s.
        (layer("huge", 99.0, weights=200e6), 20.0),
    ],
)
def test_a_bound_is_the_larger_of_arithmetic_and_bytes(one: RawLayer, expected_ms: float) -> None:
    assert bound_ms(one, RATES) == pytest.approx(expected_ms)


def test_a_copy_of_the_largest_size_is_main_memory() -> None:
    reads = MoveRate(900_000_000, 99.0, copied=False)
    assert Rates(gmacs_per_s=1.0, moves=(*RATES.moves, reads)).gb_per_s == 10.0


LAYERS = (
    layer("conv1", 4.0, macs=100e6, activations=1e3, reads_image=True),
    layer("layer4.conv + layer4.act", 5.0, macs=1e6, weights=20e6),
    layer("fc", 2.0, macs=10e6, precision="fp32"),
    layer("reorder", 1.0, activations=0.5e6, operator="Reorder"),
    layer("layer1.conv", 3.0, macs=290e6),
)


def test_a_limit_adds_up_its_layers_and_names_the_worst() -> None:
    limit = find_limit(measured(20.0), LAYERS, RATES)
    # 1 + 2 + 0.1 + 0.01 + 2.9 milliseconds.
    assert limit.bound_ms == pytest.approx(6.01)
    assert limit.share == pytest.approx(6.01 / 20)
    assert [one.name for one in limit.layers] == ["layer4.conv + layer4.act", "conv1", "layer1.conv", "fc", "reorder"]
    assert limit.layers[1].bound_ms == pytest.approx(1.0)
    assert (limit.gmacs_per_s, limit.gb_per_s) == (100.0, 10.0)
    assert limit.findings == (
        # 2.01 of 6.01 milliseconds.
        "the limit is 6.01 ms of 20 ms (30%) at 100 GMAC/s: 33% of it moves bytes, the rest is arithmetic",
        "conv1 takes 20% of the time, its bound is 25% of that: the few channels of an image feed few products"
        " at a time",
        "layer4.conv takes 25% of the time, its bound is 40% of that: bytes are most of its bound, not of its"
        " time, 20 MB of weights for 1 million products at 4 of 10 GB/s; a larger batch does more with each reading",
        "fc takes 10% of the time, its bound is 5% of that: it runs in fp32 in a network of int8",
        "1 layer only converts (reformats and casts), 5% of the time",
        "the layers take 75% of the latency; the rest is between them: calls, launches, copies, and waiting where the"
        " machine is busy",
    )


def test_a_layer_near_its_roof_is_memory_bound() -> None:
    limit = find_limit(measured(3.0), (layer("pointwise", 2.5, macs=1e6, activations=20e6), *LAYERS[4:]), RATES)
    # 20e6 bytes in 2.5 ms are 8e9 per second.
    assert limit.findings[1] == (
        "pointwise takes 83% of the time, its bound is 80% of that: memory-bound, 20 MB of activations at 8 of 10 GB/s"
    )


def test_a_rate_that_a_layer_attains_is_attainable() -> None:
    # 600e6 in 3 ms are 200e9 per second, twice what the probe found.
    limit = find_limit(measured(4.0), (layer("fast", 3.0, macs=600e6), layer("slow", 2.0, macs=100e6)), RATES)
    assert limit.gmacs_per_s == pytest.approx(200.0)
    assert limit.bound_ms == pytest.approx(3.5)
    assert "at 200 GMAC/s, which a layer attains (the probe: 100)" in limit.findings[0]
    assert "which costs time itself" in limit.findings[-1]


def test_the_precision_of_a_network_is_that_of_most_of_its_work() -> None:
    assert main_precision(LAYERS) == "int8"
    assert main_precision((layer("a", 1.0, macs=1), layer("b", 1.0, macs=2, precision="fp32"))) == "fp32"


# A core of any machine that runs this multiplies more than 1e9 and fewer than 1e14 times per second, and no main memory
# of a CPU moves more than 1e13 bytes: wrong units are wrong by a thousand.
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_probed_rates_are_those_of_a_machine(engine: str, precision: str) -> None:
    pytest.importorskip(engine)
    rates = probe_rates(engine, precision, threads=1)
    assert 1 < rates.gmacs_per_s < 1e5
    assert 0.1 < rates.gb_per_s < 1e4


def test_what_cannot_be_probed_is_said() -> None:
    with pytest.raises(EngineError, match="tensorrt are not measured"):
        probe_rates("tensorrt", "fp16", threads=None)
    with pytest.raises(EngineError, match="onnxruntime in bf16 is not measured"):
        probe_rates("onnxruntime", "bf16", threads=None)


def subject(exported: Exported, **changes: object) -> Subject:
    facts: Mapping[str, object] = {
        "name": "a",
        "kind": "bundle",
        "bundle": exported.fp32,
        "engine": "openvino",
        "batch": 1,
        "threads": 1,
        **changes,
    }
    return Subject.model_validate(facts)


# The counters have whole microseconds, and a bound of bytes holds for tensors that come from as far as the probe's: a
# small layer's are still in a nearer cache, and the probe may have run while another process had the machine.
NOISE, TICK_MS = 2.0, 0.005


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_no_layer_is_faster_than_its_bound(exported: Exported, engine: str) -> None:
    pytest.importorskip(engine)
    layers = layer_times(open_bundle(exported.fp32), engine, batch=4, threads=1, runs=10)
    limit = find_limit(measured(sum(one.ms for one in layers)), layers, probe_rates(engine, "fp32", threads=1))
    for one in limit.layers:
        assert one.bound_ms is not None
        assert one.bound_ms <= NOISE * one.ms + TICK_MS, one
    assert 0.05 < limit.share <= NOISE


@pytest.mark.slow
def test_every_bundle_that_can_be_probed_gets_a_limit(exported: Exported) -> None:
    pytest.importorskip("openvino")
    stages: list[tuple[str, int | None]] = []
    listener = Listener(on_stage=lambda name, steps: stages.append((name, steps)))
    other = measured(1.0).model_copy(update={"name": "a peer"})
    (limit,) = find_limits({"a": subject(exported)}, [measured(30.0), other], listener)
    assert limit.name == "a"
    assert stages == [("limit", 1)]


def test_the_reason_for_no_limit_is_said(exported: Exported) -> None:
    assert why_no_limit(subject(exported)) == ""
    assert why_no_limit(subject(exported, engine="openvino:bf16")) == ""
    assert "tensorrt are not measured" in why_no_limit(subject(exported, engine="tensorrt"))
    assert "on a GPU" in why_no_limit(subject(exported, engine="onnxruntime:cuda"))
    assert "on a GPU" in why_no_limit(subject(exported, device="gpu"))
    assert find_limits({"a": subject(exported, engine="tensorrt")}, [measured(1.0)], Listener()) == ()


def test_a_tiny_model_is_what_onnx_reads() -> None:
    rng = np.random.default_rng(0)
    # 300 makes lengths of two bytes, as a varint has them.
    weight, x = rng.standard_normal((300, 2), np.float32), rng.standard_normal((4, 300), np.float32)
    raw = tiny_model(
        [("MatMul", ["x", "weight"], "product"), ("Relu", ["product"], "y")],
        inputs={"x": ("float32", (4, 300))},
        outputs={"y": ("float32", (4, 2))},
        constants={"weight": weight},
    )
    model = onnx.load_from_string(raw)
    onnx.checker.check_model(model, full_check=True)
    found: Any = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(found[0], np.maximum(x @ weight, 0), rtol=1e-5, atol=1e-5)


def test_a_tiny_integer_model_is_what_onnx_reads() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.integers(-127, 128, (8, 4), np.int8), rng.integers(0, 256, (2, 8), np.uint8)
    raw = tiny_model(
        [("MatMulInteger", ["x", "weight"], "y")],
        inputs={"x": ("uint8", (2, 8))},
        outputs={"y": ("int32", (2, 4))},
        constants={"weight": weight},
    )
    model = onnx.load_from_string(raw)
    onnx.checker.check_model(model, full_check=True)
    found: Any = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(found[0], x.astype(np.int64) @ weight.astype(np.int64))
