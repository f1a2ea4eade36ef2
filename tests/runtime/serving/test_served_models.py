"""What stands in a version's folder gives PyTorch's outputs, opened as the servers open it."""

import hashlib
import json

import numpy as np
import openvino
import pytest

from runtime.errors import VerificationError
from tests.helpers.exported import change_weights, copy_bundle, decibels
from tests.helpers.serving import write

FP32 = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.mark.parametrize(
    ("network", "precision", "names"),
    [
        ("exported", "fp32", ["logits", "embedding"]),
        ("exported", "fp16", ["logits", "embedding"]),
        ("backbone", "fp32", ["embedding"]),
    ],
)
@pytest.mark.parametrize(("backend", "file"), [("openvino", "model.xml"), ("onnxruntime", "model.onnx")])
def test_openvino_reads_the_version_and_gives_pytorchs_outputs(
    request, tmp_path, network, precision, names, backend, file
):
    bundle = getattr(request.getfixturevalue(network), precision)
    version = write(bundle, tmp_path / "models", backend=backend).place.model / "1"
    required = json.loads((bundle / "bundle.json").read_text())["precision"]["min_sqnr_db"]
    compiled = openvino.Core().compile_model(version / file, "CPU", FP32)
    outputs = compiled(np.load(bundle / "golden/pixels.npy"))
    assert [output.get_any_name() for output in compiled.outputs] == names
    for name in names:
        assert decibels(np.load(bundle / f"golden/{name}.npy"), outputs[name]) >= required


def test_the_ir_keeps_fp32_weights_and_is_the_same_bytes_every_time(exported, tmp_path):
    versions = [write(exported.fp32, tmp_path / name, backend="openvino").place.model / "1" for name in ("a", "b")]
    for file in ("model.xml", "model.bin"):
        first, second = ((version / file).read_bytes() for version in versions)
        assert first == second
    model = openvino.Core().read_model(versions[0] / "model.xml")
    weights = [op for op in model.get_ops() if op.get_type_name() == "Constant" and len(op.shape) == 4]
    assert {op.get_element_type().get_type_name() for op in weights if op.data.size > 64} == {"f32"}
    assert str(tmp_path).encode() not in (versions[0] / "model.xml").read_bytes()


def test_a_graph_that_is_not_what_the_golden_outputs_are_of_is_not_written(exported, tmp_path):
    graph = change_weights((exported.fp32 / "model.onnx").read_bytes(), lambda _name, array: array * 1.01)
    other = copy_bundle(exported.fp32, tmp_path / "other", files={"model.onnx": graph})
    with pytest.raises(VerificationError, match="dB against the original"):
        write(other, tmp_path / "models", backend="openvino")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


def test_a_version_says_what_it_was_made_from(exported, tmp_path):
    version = write(exported.fp16, tmp_path / "models").place.model / "1"
    record = json.loads((version / "export-ssl.json").read_text(encoding="utf-8"))
    manifest = json.loads((exported.fp16 / "bundle.json").read_text(encoding="utf-8"))
    assert record["bundle_sha256"] == hashlib.sha256((exported.fp16 / "bundle.json").read_bytes()).hexdigest()
    assert record["weights"] == manifest["weights"]
    assert record["licence"] == manifest["licence"]
    assert record["precision"] == "fp16"
    assert record["files"] == {"model.onnx": hashlib.sha256((version / "model.onnx").read_bytes()).hexdigest()}
    assert (version / "model.onnx").read_bytes() == (exported.fp16 / "model.onnx").read_bytes()
    assert sorted(path.name for path in version.iterdir()) == ["LICENSE-WEIGHTS.txt", "export-ssl.json", "model.onnx"]
