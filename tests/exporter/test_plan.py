"""`export-ssl --engine tensorrt` as a user calls it, on the stand-in of TensorRT, and what runs the plan afterwards."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers.bundle_files import described_files
from tests.helpers.command_lines import refused
from tests.helpers.paths import ROOT
from tests.helpers.standin_commands import listing, run
from tests.helpers.tools import needs_rtx
from tests.tensorrt_bindings.standin import standin_environment

FP16_DB = 45.0
SMALL = ("--model", "ssl_resnet18", "--weights", "random", "--img-size", "64", "--fp16")
WITH_PLAN = (*SMALL, "--engine", "tensorrt")
PLAN_FILES = {"model.plan", "model.plan.json", "model.plan.layers.json"}


def export(*arguments, output, **options):
    return run("export-ssl", *arguments, "--output", output, cache=output.parent / "cache", **options)


@pytest.fixture(scope="module")
def with_plan(tmp_path_factory):
    """A bundle that was exported with its plan, and what the command printed."""
    target = tmp_path_factory.mktemp("with-plan") / "bundle"
    result = export(*WITH_PLAN, "--profile", "1:4:8", output=target)
    assert result.exit_code == 0, result.stderr
    return target, result


@pytest.fixture
def bundle(with_plan, tmp_path):
    return shutil.copytree(with_plan[0], tmp_path / "bundle")


def test_plan_description_and_certificate_are_there(with_plan):
    bundle, result = with_plan
    assert described_files(bundle) >= PLAN_FILES
    sidecar = json.loads((bundle / "model.plan.json").read_text())
    assert (sidecar["certificate"]["promised"], sidecar["certificate"]["kept"]) == (21, 21)
    assert sidecar["options"]["profile"] == {"min": 1, "opt": 4, "max": 8}
    assert f"{bundle}/model.plan: ssl_resnet18, fp16, TensorRT 10.16." in result.stdout
    assert "100.0% required: pass" in result.stdout


def test_stderr_has_the_notices_alone(with_plan):
    licence, preprocessing, images, untrained, rounded, sums = with_plan[1].stderr.splitlines()
    assert licence.startswith("licence of the weights: CC-BY-NC-4.0")
    assert preprocessing.startswith("preprocessing: short side to ")
    assert images.startswith("verified on the four packaged photographs")
    assert untrained.startswith("UNTRAINED: ")
    assert rounded.endswith("round to zero in FP16")
    assert sums.endswith("onnxruntime:fp32 and OpenVINO add up in FP32 there")


def test_the_plan_is_not_one_of_the_manifest_s_files(with_plan):
    listed = {entry["path"] for entry in json.loads((with_plan[0] / "bundle.json").read_text())["files"]}
    assert not listed & PLAN_FILES


@pytest.mark.parametrize("option", [("--profile", "1"), ("--version-compatible",), ("--min-share", "0.5")])
def test_options_of_a_plan_without_a_plan_are_refused(option, tmp_path):
    result = export(*SMALL, *option, output=tmp_path / "bundle")
    refused(result, option[0], "--engine tensorrt", code=2)
    assert not (tmp_path / "bundle").exists()


def test_int8_for_cpus_is_refused_before_the_export(tmp_path):
    calib = ("--int8", "--calib", tmp_path, "--int8-target", "cpu")
    refused(export(*WITH_PLAN, *calib, output=tmp_path / "bundle"), "--int8-target tensorrt", code=2)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("machine", "words"),
    [({"version": ""}, ["TensorRT", "pip install"]), ({"STANDIN_GPU": "none"}, ["CUDA finds no GPU"])],
)
def test_a_machine_that_cannot_build_is_told_before_the_export(machine, words, tmp_path):
    refused(export(*WITH_PLAN, output=tmp_path / "bundle", **machine), *words)
    assert not (tmp_path / "bundle").exists()


def test_an_impossible_profile_is_refused_before_the_export(tmp_path):
    refused(export(*WITH_PLAN, "--profile", "4:2:8", output=tmp_path / "bundle"), "--profile 4:2:8", code=2)
    assert not (tmp_path / "bundle").exists()


def test_a_plan_of_a_fixed_batch_has_that_profile_and_takes_any_number_of_images(tmp_path):
    result = export(*WITH_PLAN, "--batch", "3", output=tmp_path / "bundle")
    assert result.exit_code == 0, result.stderr
    assert "batch 3:3:3" in result.stdout
    sidecar = json.loads((tmp_path / "bundle/model.plan.json").read_text())
    assert sidecar["options"]["profile"] == {"min": 3, "opt": 3, "max": 3}
    verified = run("run-ssl", "verify", tmp_path / "bundle", "--engines", "tensorrt", "--json", cache=tmp_path)
    assert verified.exit_code == 0, verified.output
    (check,) = json.loads(verified.stdout)["engines"]
    # Four images, of which the last one is filled up to three.
    assert (check["passed"], check["images"]) == (True, 4)


def test_a_profile_beside_a_fixed_batch_is_refused_before_the_export(tmp_path):
    result = export(*WITH_PLAN, "--batch", "3", "--profile", "1:4:8", output=tmp_path / "bundle")
    refused(result, "--profile 1:4:8", "fixed at 3", "without --batch", code=2)
    assert not (tmp_path / "bundle").exists()


def test_exporting_again_with_a_plan_that_fails_leaves_a_complete_bundle_without_the_old_plan(bundle, tmp_path):
    result = export(*WITH_PLAN, "--overwrite", output=bundle, STANDIN_FAULT="crash-build")
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: TensorRT crashed (SIGSEGV)")
    assert f"the bundle {bundle} is complete without a plan: `run-ssl build {bundle}`" in last
    assert not [name for name in listing(bundle) if "plan" in name]
    verified = run("run-ssl", "verify", bundle, "--engines", "onnxruntime", cache=tmp_path)
    assert verified.exit_code == 0, verified.output


def test_verify_takes_the_plan_in(with_plan, tmp_path):
    result = run("run-ssl", "verify", with_plan[0], "--json", cache=tmp_path)
    assert result.exit_code == 0, result.output
    checks = {check["engine"]: check for check in json.loads(result.stdout)["engines"]}
    assert {"tensorrt", "onnxruntime"} <= set(checks)
    assert checks["tensorrt"]["passed"]


def test_compare_measures_the_plan_against_the_original(exported, class_folders, tmp_path):
    bundle = shutil.copytree(exported.fp16, tmp_path / "fp16")
    assert run("run-ssl", "build", bundle, cache=tmp_path).exit_code == 0
    arguments = ("compare", bundle, "--engines", "tensorrt", "--data", class_folders, "--json")
    result = run("run-ssl", *arguments, "--weights", exported.checkpoint, cache=tmp_path)
    assert result.exit_code == 0, result.output
    comparison = json.loads(result.stdout)
    (score,) = comparison["engines"]
    assert (score["engine"], score["precision"]) == ("tensorrt", "fp16, 21 of 21 layers")
    # The pictures are labelled by timm's own ranking: half with its first choice, a quarter with its second.
    assert (score["top1"], score["top5"]) == (0.5, 0.75)
    assert (score["agreement"], score["drop"], score["non_finite_logits"]) == (1.0, 0.0, 0)
    # FP16 rounds and so is not identical; 50 to 70 dB were measured on such networks.
    assert not score["identical"]
    assert score["sqnr_db"] > FP16_DB


def test_a_plan_of_another_version_is_one_line_where_it_is_asked_for(bundle, class_folders, tmp_path):
    arguments = ("compare", bundle, "--engines", "tensorrt", "--data", class_folders)
    result = run("run-ssl", *arguments, cache=tmp_path, version="10.3")
    refused(result, "was built by TensorRT 10.16.1", "this is 10.3.0", f"`run-ssl build {bundle}`")


def test_a_plan_of_another_gpu_fails_the_verification_and_the_others_pass(bundle, tmp_path):
    gpu = json.dumps({"name": "NVIDIA H100 PCIe", "major": 9, "minor": 0})
    result = run("run-ssl", "verify", bundle, "--json", cache=tmp_path, STANDIN_GPU=gpu)
    assert result.exit_code == 1
    checks = {check["engine"]: check for check in json.loads(result.stdout)["engines"]}
    assert {name for name, check in checks.items() if check["passed"]} == set(checks) - {"tensorrt"}
    printed = run("run-ssl", "verify", bundle, cache=tmp_path, STANDIN_GPU=gpu)
    assert f"`run-ssl build {bundle}`" in printed.stdout  # in one piece, to be copied
    assert "this is NVIDIA H100 PCIe (compute capability 9.0)" in checks["tensorrt"]["meaning"]


@pytest.mark.parametrize(("version", "engine"), [("10.16", "tensorrt"), ("10.3", "openvino"), ("", "openvino")])
def test_auto_takes_the_plan_where_it_runs_and_says_why_where_it_does_not(version, engine, with_plan, tmp_path):
    script = "import sys, runtime.engines.open_engine as load; print(load.load_engine(sys.argv[1]).name)"
    environment = standin_environment(version) if version else dict(os.environ)
    done = subprocess.run(
        [sys.executable, "-c", script, with_plan[0]],
        env={**environment, "XDG_CACHE_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{engine}\n"
    warned = engine != "tensorrt"
    assert done.stderr.startswith("the bundle's TensorRT plan is not used: ") == warned
    assert len(done.stderr.splitlines()) == warned


RTX = (*SMALL, "--engine", "tensorrt-rtx")


@needs_rtx
def test_a_plan_for_rtx_is_built_by_nvidias_compiler_on_a_machine_without_a_gpu(tmp_path):
    result = export(*RTX, "--gpu", "turing,ada", output=tmp_path / "bundle", version="")
    assert result.exit_code == 0, result.stderr
    assert described_files(tmp_path / "bundle") >= {name.replace("plan", "rtx.plan", 1) for name in PLAN_FILES}
    assert f"{tmp_path}/bundle/model.rtx.plan: ssl_resnet18, fp16, TensorRT for RTX 1." in result.stdout
    sidecar = json.loads((tmp_path / "bundle/model.rtx.plan.json").read_text())
    assert (sidecar["certificate"]["promised"], sidecar["certificate"]["kept"]) == (21, 21)
    assert sidecar["options"]["compute_capabilities"] == ["7.5", "8.9"]


@pytest.mark.parametrize("option", [("--gpu", "ada"), ("--compute-capability", "86")])
def test_gpus_without_a_plan_for_them_are_refused(option, tmp_path):
    result = export(*SMALL, *option, output=tmp_path / "bundle")
    refused(result, f"{option[0]} is for TensorRT for RTX: add --engine tensorrt-rtx", code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--timing-cache", "none"), ["--timing-cache has no meaning with --engine tensorrt-rtx"]),
        (("--gpu", "hopper"), ["--gpu hopper: expected some of turing, ampere, ada, blackwell"]),
        (("--int8", "--calib", ".", "--int8-target", "cpu"), ["drop --engine tensorrt-rtx", "--int8-target tensorrt"]),
        (("--int8", "--calib", ".", "--gpu", "turing,ada"), ["in floats on all of them", "drop --int8"]),
    ],
)
def test_what_a_plan_for_rtx_cannot_be_is_refused_before_the_export(arguments, words, tmp_path):
    refused(export(*RTX, *arguments, output=tmp_path / "bundle", version=""), *words, code=2)
    assert not (tmp_path / "bundle").exists()


def test_an_fp32_classifier_for_turing_is_refused_before_the_export(tmp_path):
    arguments = [word for word in RTX if word != "--fp16"]
    result = export(*arguments, "--gpu", "ada,turing", output=tmp_path / "bundle", version="")
    refused(result, "no FP32 matrix product for Turing", "add --fp16", code=2)
    assert not (tmp_path / "bundle").exists()
