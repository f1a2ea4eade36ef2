"""A bundle whose graph takes one number of images: by onnx's own shapes, and by what onnxruntime refuses."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from typer.testing import CliRunner

from exporter.cli import app
from exporter.passes.fix_batch import fix_batch
from runtime.bundle.bundle import open_bundle
from runtime.errors import GraphError
from tests.helpers.exported import decibels
from tests.helpers.graphs import make_model

BATCH = 3


def shapes(model):
    """Return the shape of every tensor that is computed, a name where a dimension has no number."""
    computed = {name for node in model.graph.node for name in node.output}
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    inputs = {value.name for value in model.graph.input}
    return {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in values
        if value.name in computed | inputs
    }


def test_every_image_s_tensor_begins_with_the_batch(exported, fixed_batch):
    found, before = (shapes(onnx.load(bundle / "model.onnx")) for bundle in (fixed_batch, exported.fp32))
    assert found["pixels"] == [BATCH, 64, 64, 3]
    assert (found["logits"], found["embedding"]) == ([BATCH, 1000], [BATCH, 512])
    assert {shape[0] for shape in before.values()} == {"batch"}
    assert found == {name: [BATCH, *shape[1:]] for name, shape in before.items()}


def test_the_network_is_the_same(exported, fixed_batch):
    found, before = (onnx.load(bundle / "model.onnx").graph for bundle in (fixed_batch, exported.fp32))
    assert list(found.node) == list(before.node)
    assert list(found.initializer) == list(before.initializer)


@pytest.mark.parametrize("name", ["tensorrt", "cpu"])
def test_int8_graphs_have_no_dimension_without_a_number_left(quantized, name):
    model = onnx.load(getattr(quantized, name) / "model.onnx")
    fix_batch(model, BATCH)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    found = shapes(inferred)
    assert {size for shape in found.values() for size in shape if isinstance(size, str)} == set()
    assert (found["logits"], found["embedding"]) == ([BATCH, 1000], [BATCH, 512])


@pytest.mark.parametrize("images", [1, 2, 4])
def test_onnxruntime_refuses_another_number_of_images(fixed_batch, images):
    session = onnxruntime.InferenceSession(fixed_batch / "model.onnx", providers=["CPUExecutionProvider"])
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match=f"Got: {images} Expected: 3"):
        session.run(None, {"pixels": np.zeros((images, 64, 64, 3), np.uint8)})


def test_onnxruntime_gives_timm_s_outputs_for_a_whole_batch(fixed_batch, reference):
    session = onnxruntime.InferenceSession(fixed_batch / "model.onnx", providers=["CPUExecutionProvider"])
    logits, embedding = session.run(["logits", "embedding"], {"pixels": reference.pixels[:BATCH]})
    required = open_bundle(fixed_batch).manifest.precision.min_sqnr_db
    assert decibels(reference.logits[:BATCH], logits) >= required
    assert decibels(reference.embedding[:BATCH], embedding) >= required


def test_the_manifest_says_the_graph_s_own_shapes(fixed_batch):
    manifest, model = open_bundle(fixed_batch).manifest, onnx.load(fixed_batch / "model.onnx")
    found = shapes(model)
    assert {spec.name: list(spec.shape) for spec in (manifest.input, *manifest.outputs)} == {
        name: found[name] for name in ("pixels", "logits", "embedding")
    }
    assert manifest.fixed_batch == BATCH


def test_the_command_fixes_the_batch_of_any_opset_and_input_and_says_so(exported, tmp_path):
    arguments = ["--model", "ssl_resnet18", "--weights", str(exported.checkpoint), "--img-size", "32", "--batch", "1"]
    more = ["--opset", "17", "--input", "float32", "--fp16", "--output", str(tmp_path / "one")]
    done = CliRunner().invoke(app, [*arguments, *more])
    assert done.exit_code == 0, done.stderr
    assert "opset 17; batch fixed at 1; metadata" in " ".join(done.stdout.split())
    assert shapes(onnx.load(tmp_path / "one/model.onnx"))["input"] == [1, 3, 32, 32]


@pytest.mark.parametrize("batch", ["0", "-1", "1025", "1.5"])
def test_a_batch_of_no_or_of_very_many_images_is_refused(batch):
    refused = CliRunner().invoke(app, ["--model", "ssl_resnet18", "--batch", batch])
    assert refused.exit_code == 2
    assert "--batch" in refused.stderr


def test_a_graph_with_another_dimension_without_a_number_is_refused():
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Cast", ["places"], ["logits"], to=1)]
    model = make_model(nodes, {}, input_shape=("batch", 4), outputs={"logits": (2, "found")})
    with pytest.raises(
        GraphError,
        match=r"^the batch cannot be fixed at 3, logits still has the shape \[2, 'found'\]: leave --batch out$",
    ):
        fix_batch(model, BATCH)
