"""Every field of config.pbtxt, read with Triton's own schema and compared with what others say of the bundle."""

import numpy as np
import onnx
import pytest

from runtime.errors import BundleError, UsageError
from runtime.serving.next_steps import as_lines
from tests.helpers.bundles import tensors, write_hand_made
from tests.helpers.plans import put_plan
from tests.helpers.serving import parsed, write

UINT8, FP32 = 2, 11  # enum DataType of model_config.proto
AUTO, GPU, CPU = 0, 1, 2  # enum Kind of ModelInstanceGroup there


def graph_shapes(values):
    return {value.name: [size.dim_value or -1 for size in value.type.tensor_type.shape.dim] for value in values}


@pytest.fixture(scope="module")
def served(exported, tmp_path_factory):
    """The FP32 bundle in a repository, once per backend that needs no plan."""
    repository = tmp_path_factory.mktemp("served") / "models"
    for backend in ("onnxruntime", "openvino"):
        write(exported.fp32, repository, backend=backend, name=backend)
    return repository


def test_inputs_and_outputs_are_the_onnx_files_without_the_batch(exported, served):
    graph = onnx.load(exported.fp32 / "model.onnx").graph
    config = parsed(served / "onnxruntime")
    assert {one.name: [-1, *one.dims] for one in config.input} == graph_shapes(graph.input)
    assert {one.name: [-1, *one.dims] for one in config.output} == graph_shapes(graph.output)
    assert [one.data_type for one in config.input] == [UINT8]
    assert [one.data_type for one in config.output] == [FP32, FP32]


def test_openvino_requests_carry_the_batch_dimension_themselves(exported, served):
    graph = onnx.load(exported.fp32 / "model.onnx").graph
    config = parsed(served / "openvino")
    assert {one.name: list(one.dims) for one in (*config.input, *config.output)} == graph_shapes(
        (*graph.input, *graph.output)
    )
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert {key: config.parameters[key].string_value for key in ("NUM_STREAMS", "PERFORMANCE_HINT")} == {
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
    }


def test_the_logits_have_a_label_for_every_class(served):
    for name in ("onnxruntime", "openvino"):
        outputs = {one.name: one for one in parsed(served / name).output}
        lines = (served / name / outputs["logits"].label_filename).read_bytes().decode().split("\n")
        assert len([line for line in lines if line]) == outputs["logits"].dims[-1] == 1000
        assert outputs["embedding"].label_filename == ""


def test_requests_are_batched_and_the_latest_version_is_served(served):
    config = parsed(served / "onnxruntime")
    assert (config.name, config.backend, config.max_batch_size) == ("onnxruntime", "onnxruntime", 32)
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert config.version_policy.latest.num_versions == 1
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, AUTO)]


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_model_warms_up_with_the_golden_pictures(exported, served, name):
    pixels = np.load(exported.fp32 / "golden/pixels.npy")
    config = parsed(served / name)
    singles = [sample for sample in config.model_warmup if sample.batch_size == 1]
    found = []
    for sample in singles:
        (entry,) = sample.inputs.values()
        assert list(sample.inputs) == ["pixels"]
        assert entry.data_type == UINT8
        data = (served / name / "warmup" / entry.input_data_file).read_bytes()
        # Triton takes as many bytes as the dims have and does not mind more; here there are no more.
        assert len(data) == np.prod(list(entry.dims))
        found.append(data)
    assert found == [picture.tobytes() for picture in pixels]
    larger = [sample.batch_size for sample in config.model_warmup if sample.batch_size > 1]
    assert larger == ([32] if name == "onnxruntime" else [])


def test_a_float_input_warms_up_with_normalised_pictures(tmp_path):
    from runtime.bundle.manifest import TensorSpec

    shape = ("batch", 3, 8, 8)
    bundle = write_hand_made(
        tmp_path / "float", input=TensorSpec(name="x", dtype="float32", shape=shape, layout="NCHW", meaning="")
    )
    config = parsed(write(bundle, tmp_path / "models").place.model)
    assert [(one.name, one.data_type, list(one.dims)) for one in config.input] == [("x", FP32, [3, 8, 8])]
    # Golden pixels of the hand-made bundle are black, its mean and std are 0.5: (0 - 0.5) / 0.5.
    data = np.fromfile(tmp_path / "models/tiny/warmup/golden-0.bin", "<f4")
    assert data.tolist() == [-1.0] * (3 * 8 * 8)


def test_the_licence_is_in_the_configuration_and_beside_every_model(exported, served):
    text = (exported.fp32 / "LICENSE-WEIGHTS.txt").read_bytes()
    assert b"SPDX-License-Identifier: CC-BY-NC-4.0" in text
    for name in ("onnxruntime", "openvino"):
        assert parsed(served / name).parameters["weights_licence"].string_value == "CC-BY-NC-4.0"
        assert (served / name / "LICENSE-WEIGHTS.txt").read_bytes() == text
        assert (served / name / "1/LICENSE-WEIGHTS.txt").read_bytes() == text


def test_options_reach_the_configuration(exported, tmp_path):
    written = write(
        exported.fp32,
        tmp_path / "models",
        device="cpu",
        max_batch=16,
        instances=3,
        max_queue_delay_us=250,
        preferred_batch=(4, 16),
        keep="all",
    )
    config = parsed(written.place.model)
    assert config.max_batch_size == 16
    assert [(group.count, group.kind) for group in config.instance_group] == [(3, CPU)]
    assert list(config.dynamic_batching.preferred_batch_size) == [4, 16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 250
    assert config.version_policy.HasField("all")
    assert [sample.batch_size for sample in config.model_warmup if sample.batch_size > 1] == [4, 16]


def test_several_openvino_instances_have_a_stream_each(exported, tmp_path):
    config = parsed(write(exported.fp32, tmp_path / "models", backend="openvino", instances=4).place.model)
    assert config.parameters["NUM_STREAMS"].string_value == "4"
    assert config.parameters["PERFORMANCE_HINT"].string_value == "THROUGHPUT"
    assert [(group.count, group.kind) for group in config.instance_group] == [(4, CPU)]


def test_a_plan_is_served_on_gpus_in_batches_that_its_profile_takes(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle")
    plan = put_plan(bundle, profile={"min": 1, "opt": 4, "max": 24})
    model = write(bundle, tmp_path / "models").place.model
    config = parsed(model)
    assert (config.backend, config.max_batch_size) == ("tensorrt", 24)
    assert [group.kind for group in config.instance_group] == [GPU]
    assert (model / "1/model.plan").read_bytes() == plan


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_request_of_a_graph_of_a_fixed_batch_holds_that_batch(fixed_batch, tmp_path, backend):
    written = write(fixed_batch, tmp_path / "models", backend=backend)
    config, graph = parsed(written.place.model), onnx.load(fixed_batch / "model.onnx").graph
    assert {one.name: list(one.dims) for one in (*config.input, *config.output)} == graph_shapes(
        (*graph.input, *graph.output)
    )
    assert config.input[0].dims[0] == 3
    # Triton joins no requests: it would make batches of other sizes.
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (0, False)
    assert as_lines(written)[1].endswith("batches of 3")
    assert "note:     a request holds 3 images: the batch of the graph is fixed" in as_lines(written)


def test_a_graph_of_a_fixed_batch_warms_up_with_batches_of_golden_pictures(fixed_batch, tmp_path):
    model = write(fixed_batch, tmp_path / "models").place.model
    pixels, config = np.load(fixed_batch / "golden/pixels.npy"), parsed(model)
    entries = [entry for sample in config.model_warmup for entry in sample.inputs.values()]
    assert [
        (list(entry.dims), sample.batch_size) for sample, entry in zip(config.model_warmup, entries, strict=True)
    ] == [
        ([3, 64, 64, 3], 1),
        ([3, 64, 64, 3], 1),
    ]
    found = [(model / "warmup" / entry.input_data_file).read_bytes() for entry in entries]
    assert b"".join(found) == pixels.tobytes() + bytes(2 * pixels[0].nbytes)


@pytest.mark.parametrize(
    ("wish", "option"),
    [({"max_batch": 8}, "--max-batch 8"), ({"preferred_batch": (4,)}, "--preferred-batch 4")],
)
def test_batches_for_a_graph_of_a_fixed_batch_are_refused(tmp_path, wish, option):
    bundle = write_hand_made(tmp_path / "fixed", **tensors(4))
    expected = f"{option}: the batch of the graph is fixed at 4, so Triton does not join .* or export without --batch"
    with pytest.raises(UsageError, match=expected):
        write(bundle, tmp_path / "models", **wish)


def test_a_plan_of_a_fixed_batch_is_served_in_that_batch(tmp_path):
    bundle = write_hand_made(tmp_path / "fixed", **tensors(4))
    put_plan(bundle, profile={"min": 4, "opt": 4, "max": 4})
    config = parsed(write(bundle, tmp_path / "models", instances=2).place.model)
    assert (config.backend, config.max_batch_size, list(config.input[0].dims)) == ("tensorrt", 0, [4, 8, 8, 3])
    # A later version keeps what is there.
    assert write(bundle, tmp_path / "models").record.contract.settings.instances == 2


def test_a_fixed_batch_is_no_version_of_a_model_of_any_batch(tmp_path):
    write(write_hand_made(tmp_path / "any"), tmp_path / "models")
    with pytest.raises(BundleError, match="has the input "):
        write(write_hand_made(tmp_path / "fixed", **tensors(4)), tmp_path / "models")
