"""`run-ssl repo` and `export-ssl --triton-repo` as a user calls them; which backend is chosen, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

import exporter.cli
import runtime.commands.run_ssl
from runtime.serving.backends import BACKENDS
from tests.helpers.bundles import write_hand_made
from tests.helpers.command_lines import refused
from tests.helpers.plans import A100, put_plan
from tests.helpers.serving import int8, parsed


def call(*words):
    return CliRunner().invoke(runtime.commands.run_ssl.app, ["repo", *(str(word) for word in words)])


def backend_of(result, models):
    assert result.exit_code == 0, result.output
    return parsed(models / "tiny").backend


def test_help_has_two_examples_and_every_option():
    text = CliRunner().invoke(runtime.commands.run_ssl.app, ["repo", "--help"], env={"COLUMNS": "200"}).output
    assert text.count("run-ssl repo ssl_resnet50") == 2
    for option in ("--name", "--version", "--backend", "--device", "--max-batch", "--instances", "--keep", "--json"):
        assert option in text


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_backend_can_be_asked_for_by_its_name(backend, tmp_path):
    refused(call(tmp_path / "absent", tmp_path / "models", "--backend", backend), "is not a directory")


def test_the_result_names_the_version_the_licence_and_both_servers_commands(exported, tmp_path):
    result = call(exported.fp32, tmp_path / "models")
    assert result.exit_code == 0, result.output
    assert "ssl_resnet18, version 1" in result.stdout
    assert "CC-BY-NC-4.0" in result.stdout
    assert f"tritonserver --model-repository={tmp_path}/models\n" in result.stdout
    assert f"ovms --model_name ssl_resnet18 --model_path {tmp_path}/models/ssl_resnet18" in result.stdout
    assert '{"INFERENCE_PRECISION_HINT": "f32"}' in result.stdout


def test_json_has_the_same_for_a_machine(exported, tmp_path):
    found = json.loads(call(exported.fp16, tmp_path / "models", "--json", "--name", "r18", "--version", 7).stdout)
    assert (found["name"], found["version"]) == ("r18", 7)
    assert found["record"]["licence"]["spdx"] == "CC-BY-NC-4.0"
    assert found["triton"].endswith(f"tritonserver --model-repository={tmp_path}/models")


def test_a_plan_is_taken_where_there_is_one_and_said_to_be_this_gpus(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle")
    put_plan(bundle)
    result = call(bundle, tmp_path / "models")
    assert backend_of(result, tmp_path / "models") == "tensorrt"
    assert A100 in result.stdout
    assert "TensorRT 10.16.1.11" in result.stdout
    assert "ovms" not in result.stdout
    assert backend_of(call(bundle, tmp_path / "cpu", "--device", "cpu"), tmp_path / "cpu") == "onnxruntime"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--backend", "tensorrt"], ["does not exist", "run-ssl build"]),
        (["--backend", "openvino", "--device", "gpu"], ["--device is gpu", "--backend onnxruntime"]),
        (["--backend", "tensorrt", "--device", "cpu"], ["--device is cpu"]),
        (["--preferred-batch", "64"], ["--preferred-batch 64", "largest batch is 32"]),
        (["--preferred-batch", "0"], ["--preferred-batch 0", "expected a list such as 1,8,32"]),
        (["--backend", "openvino", "--max-batch", "8"], ["--max-batch 8", "--backend onnxruntime"]),
        (["--backend", "openvino", "--max-queue-delay-us", "9"], ["--max-queue-delay-us 9"]),
        (["--name", "../x"], ["--name '../x'", "expected letters"]),
        (["--version", "0"], ["--version 0"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, words, expected):
    bundle = write_hand_made(tmp_path / "bundle")
    result = call(bundle, tmp_path / "models", *words)
    refused(result, *expected, code=1 if "does not exist" in expected[0] else 2)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("words", [["--instances", "0"], ["--max-batch", "0"], ["--keep", "some"], ["--device", "npu"]])
def test_values_out_of_range_are_usage_errors(tmp_path, words):
    assert call(tmp_path, tmp_path / "models", *words).exit_code == 2


def test_int8_fp16_is_never_given_to_onnxruntime_on_a_cpu(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle", precision=int8("int8-fp16"))
    for device in ("auto", "cpu"):
        result = call(bundle, tmp_path / "models", "--backend", "onnxruntime", "--device", device)
        refused(result, "wrong answers in onnxruntime on a CPU", "--backend openvino", code=2)
    result = call(bundle, tmp_path / "models", "--device", "gpu")
    assert backend_of(result, tmp_path / "models") == "onnxruntime"
    # KIND_GPU, and not KIND_AUTO: without a GPU Triton must not load it.
    assert [group.kind for group in parsed(tmp_path / "models/tiny").instance_group] == [1]
    # By itself it is openvino that is chosen; what is in the hand-made bundle is no network that could be converted.
    refused(call(bundle, tmp_path / "other"), "OpenVINO", "cannot convert")


@pytest.mark.parametrize(
    ("target", "device", "told"), [("tensorrt", "cpu", True), ("cpu", "cpu", False), ("tensorrt", "gpu", False)]
)
def test_who_serves_signed_int8_by_onnxruntime_on_cpus_is_told_that_it_is_slow(target, device, told, tmp_path):
    bundle = write_hand_made(tmp_path / "bundle", precision=int8("int8", target=target))
    result = call(bundle, tmp_path / "models", "--device", device)
    assert result.exit_code == 0, result.output
    assert ("computes it in FP32" in result.stdout) == told


def test_an_int8_graph_for_cpus_cannot_be_a_plan(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle", precision=int8("int8", target="cpu"))
    put_plan(bundle)
    refused(call(bundle, tmp_path / "models"), "--int8-target cpu", "--backend onnxruntime")
    assert backend_of(call(bundle, tmp_path / "models", "--backend", "onnxruntime"), tmp_path / "models")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"plan_sha256": "0" * 64}, "not the plan that its sidecar describes"),
        ({"onnx_sha256": "0" * 64}, "built from another model.onnx"),
        ({"profile": {"min": 4, "opt": 8, "max": 32}}, "--profile 1:8:32"),
    ],
)
def test_a_plan_that_cannot_be_served_is_refused(tmp_path, changes, expected):
    bundle = write_hand_made(tmp_path / "bundle")
    put_plan(bundle, **changes)
    refused(call(bundle, tmp_path / "models"), expected, "run-ssl build")


def test_a_batch_beyond_the_plans_profile_is_refused(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle")
    put_plan(bundle)
    refused(call(bundle, tmp_path / "models", "--max-batch", 64), "1:8:32", "--max-batch 32", code=2)


def test_a_damaged_bundle_is_refused(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle")
    (bundle / "model.onnx").write_bytes(b"x")
    refused(call(bundle, tmp_path / "models"), "model.onnx has 1 bytes")
    refused(call(tmp_path / "absent", tmp_path / "models"), "is not a directory")


def test_a_record_of_a_newer_version_is_refused(tmp_path):
    bundle = write_hand_made(tmp_path / "bundle")
    assert call(bundle, tmp_path / "models").exit_code == 0
    record = tmp_path / "models/tiny/1/export-ssl.json"
    for text, expected in (('{"schema_version": 2}', "schema version 2"), ("[]", "is not a record"), ("{", "not JSON")):
        record.write_text(text)
        refused(call(bundle, tmp_path / "models"), expected)


@pytest.mark.slow
def test_export_puts_the_bundle_into_a_repository_and_checks_it_before_the_work(exported, tmp_path):
    words = ["--model", "ssl_resnet18", "--weights", exported.checkpoint, "--img-size", 64, "--output", tmp_path / "b"]

    def export(repository):
        return CliRunner().invoke(exporter.cli.app, [str(word) for word in (*words, "--triton-repo", repository)])

    (tmp_path / "file").write_text("")
    refused(export(tmp_path / "file"), "is not a directory: pass a model repository")
    assert not (tmp_path / "b").exists()
    result = export(tmp_path / "models")
    assert result.exit_code == 0, result.output
    assert parsed(tmp_path / "models/ssl_resnet18").backend == "onnxruntime"
    assert "tritonserver --model-repository" in result.stderr
