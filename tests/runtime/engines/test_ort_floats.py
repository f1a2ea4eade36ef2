"""onnxruntime on an FP16 graph in FP32, for processors whose FP16 kernels add up in FP16."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from runtime.bundle.bundle import open_bundle
from runtime.bundle.manifest import Fp16Sums, Precision
from runtime.engines.contract import Outputs
from runtime.engines.golden_check import adds_up_in_fp16, check_golden, tolerance_db
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.engines.ort_floats import compute_in_floats
from runtime.engines.ort_session import open_session
from runtime.errors import EngineError, UsageError
from runtime.support.arrays import Pixels
from tests.helpers.arm_sums import make_fp16_graph
from tests.helpers.fake_engine import FakeEngine

SUMS = Fp16Sums(images=8, expected_db=45.0, min_sqnr_db=42.0, losing_most={"layer4.0.conv1": 43.8})


class Says(FakeEngine):
    """An engine that says what it executes, and runs nothing."""

    name = "onnxruntime"

    def __init__(self, precision: str, *, runs_on_gpu: bool = False) -> None:
        self.precision, self.runs_on_gpu = precision, runs_on_gpu

    def infer(self, _pixels: Pixels) -> Outputs:
        raise AssertionError("nothing asks it to")


def test_fp16_of_the_graph_becomes_float32_with_the_same_values(exported):
    path = exported.fp16 / "model.onnx"
    before, after = onnx.load(path), onnx.load_from_string(compute_in_floats(path))
    onnx.checker.check_model(after, full_check=True)
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in before.graph.initializer}
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in after.graph.initializer}
    assert [node.name for node in after.graph.node] == [node.name for node in before.graph.node]
    for one, other in zip(before.graph.initializer, after.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(one).astype(np.float64), numpy_helper.to_array(other))


def test_constants_that_lie_in_integers_are_read_too(tmp_path):
    model, x = make_fp16_graph("pointwise")
    constants = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    for tensor, values in zip(model.graph.initializer, constants, strict=True):
        tensor.ClearField("raw_data")
        tensor.int32_data.extend(values.view(np.uint16).ravel().tolist())
    onnx.save(model, tmp_path / "model.onnx")
    session = open_session(compute_in_floats(tmp_path / "model.onnx"), fusion="none")
    weight, bias = constants
    expected = np.einsum("nchw,kc->nkhw", x.astype(np.float64), weight[:, :, 0, 0]) + bias[:, None, None]
    found = session.run(None, {"x": x.astype(np.float32)})[0]
    # Sums of 64 products in float32.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_constant_without_values_is_refused(tmp_path):
    model, _ = make_fp16_graph("pointwise")
    model.graph.initializer[0].ClearField("raw_data")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match="export the bundle again"):
        compute_in_floats(tmp_path / "model.onnx")


def test_a_bundle_opened_in_fp32_reaches_its_tolerance(exported):
    bundle = open_bundle(exported.fp16)
    with load_engine(bundle, "onnxruntime", EngineOptions(precision="fp32")) as engine:
        assert engine.precision == "fp16 weights, fp32 execution"
        assert check_golden(bundle, engine).passed


def test_only_fp16_bundles_are_computed_in_fp32(exported):
    bundle = open_bundle(exported.fp32)
    with pytest.raises(UsageError, match="export that precision"):
        load_engine(bundle, "onnxruntime", EngineOptions(precision="fp16"))


@pytest.mark.parametrize(
    ("engine", "narrow"),
    [
        (Says("fp16"), True),
        (Says("int8-fp16 weights, fp16 execution"), True),
        (Says("fp16 weights, fp32 execution"), False),
        (Says("fp16 (cuda)", runs_on_gpu=True), False),
        (Says("fp16", runs_on_gpu=True), False),
    ],
)
def test_fp16_on_a_cpu_has_fp16_sums_and_nothing_else(engine, narrow):
    assert adds_up_in_fp16(engine) is narrow


def test_an_engine_with_fp16_sums_is_judged_by_their_tolerance():
    precision = Precision(name="fp16", min_sqnr_db=55.0, fp16_sums=SUMS)
    assert tolerance_db(precision, Says("fp16")) == 42.0
    assert tolerance_db(precision, Says("fp16 weights, fp32 execution")) == 55.0
    assert tolerance_db(precision.model_copy(update={"fp16_sums": None}), Says("fp16")) == 55.0


@pytest.mark.parametrize(
    ("sums", "words"),
    [
        (SUMS, "they lose most in layer4.0.conv1"),
        (SUMS.model_copy(update={"min_sqnr_db": None}), "they overflow in layer4.0.conv1"),
        (None, "they were not emulated"),
    ],
)
def test_an_engine_whose_fp16_sums_are_too_coarse_is_told_the_way_out(exported, monkeypatch, sums, words):
    bundle = open_bundle(exported.fp16)
    precision = bundle.manifest.precision.model_copy(update={"fp16_sums": sums, "min_sqnr_db": 500.0})
    judged = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"precision": precision}))
    if sums is not None and sums.min_sqnr_db is not None:
        # What this machine computes in FP32 is far above any tolerance of FP16 sums.
        monkeypatch.setattr("runtime.engines.golden_check.tolerance_db", lambda *_: 500.0)
    with load_engine(bundle, "onnxruntime") as engine:
        engine.precision = "fp16"
        check = check_golden(judged, engine)
    assert not check.passed
    assert words in check.meaning
    assert "onnxruntime:fp32" in check.meaning


def test_the_file_of_the_bundle_is_left_as_it_is(exported):
    path: Path = exported.fp16 / "model.onnx"
    before = path.read_bytes()
    compute_in_floats(path)
    assert path.read_bytes() == before
