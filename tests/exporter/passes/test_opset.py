"""A bundle in every opset that can be chosen: the same network, to what reorders no sum, in a valid file."""

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from exporter.cli import app
from exporter.passes.opset import check_opset, convert_opset, ir_version_of
from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import load_engine
from runtime.errors import UsageError
from tests.helpers.exported import decibels

OPSETS = (17, 18, 19, 21, 22)
# Two float32 graphs of one onnxruntime that differ in nothing but the version of their operators.
SAME_DB = 120.0


def opset_of(model):
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_nodes_keep_their_names_and_the_file_is_as_old_as_it_may_be(exported, precision, opset):
    model = onnx.load(getattr(exported, precision) / "model.onnx")
    converted = convert_opset(model, opset)
    assert opset_of(converted) == opset
    assert [node.name for node in converted.graph.node] == [node.name for node in model.graph.node]
    # Source: ONNX's own table of releases: opset 17 and 18 are of IR 8, 19 and 20 of IR 9, 21 and 22 of IR 10.
    assert converted.ir_version == ir_version_of(opset) == {17: 8, 18: 8, 19: 9, 21: 10, 22: 10}[opset]


@pytest.mark.parametrize("opset", OPSETS)
def test_int8_keeps_its_scales_in_every_opset(quantized, opset):
    model = onnx.load(quantized.cpu / "model.onnx")
    converted = convert_opset(model, opset)
    scales = [
        {one.name: onnx.numpy_helper.to_array(one).tobytes() for one in graph.graph.initializer if "scale" in one.name}
        for graph in (model, converted)
    ]
    assert scales[0] == scales[1]
    assert scales[0]


def test_the_usual_opset_is_left_as_it_is(exported):
    model = onnx.load(exported.fp32 / "model.onnx")
    assert convert_opset(model, 20) is model


def test_fp16_tensors_are_quantised_from_opset_19_on():
    check_opset(19, fp16_qdq=True)
    check_opset(17, fp16_qdq=False)
    with pytest.raises(UsageError, match="--opset 18 with --int8 --fp16: Q/DQ of FP16 tensors needs opset 19"):
        check_opset(18, fp16_qdq=True)


def test_an_export_in_an_old_opset_is_verified_and_runs(exported, reference, tmp_path):
    arguments = ["--model", "ssl_resnet18", "--weights", str(exported.checkpoint), "--img-size", "64", "--opset", "17"]
    done = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "old")])
    assert done.exit_code == 0, done.stderr
    assert "opset 17; metadata" in " ".join(done.stdout.split())
    bundle = open_bundle(tmp_path / "old")
    model = onnx.load(bundle.model_path)
    assert (bundle.manifest.opset, bundle.manifest.ir_version) == (opset_of(model), model.ir_version) == (17, 8)
    with load_engine(bundle, "onnxruntime") as old, load_engine(exported.fp32, "onnxruntime") as usual:
        found, expected = old.infer(reference.pixels), usual.infer(reference.pixels)
    assert np.isfinite(found.logits).all()
    assert decibels(expected.logits, found.logits) >= SAME_DB
