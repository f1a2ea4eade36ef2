"""`run-ssl build` as a user calls it, on the stand-in of TensorRT: what it prints, what it keeps, what it refuses."""

import json
import os

import onnx
import pytest
from onnx import helper

from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle
from tests.helpers.standin_commands import finish, listing, run, start
from tests.tensorrt_bindings.standin import VERSIONS

PLAN_FILES = {"model.plan", "model.plan.json", "model.plan.layers.json"}
CACHES = "export-ssl/timing-caches"
CACHE = f"{CACHES}/tensorrt-10.16.1.11-nvidia-stand-in-a100-sm80.cache"
INT8_FOR_CPUS = {
    "target": "cpu",
    "method": "max",
    "techniques": [],
    "images": 64,
    "held_out": 8,
    "held_out_sqnr_db": 30.0,
}


@pytest.fixture
def bundle(exported, tmp_path):
    return copy_bundle(exported.fp16, tmp_path / "bundle")


@pytest.fixture
def build(bundle, tmp_path):
    """Run `run-ssl build` on the bundle, or on another, with more arguments and environment."""

    def built(*arguments, of=bundle, **env):
        return run("run-ssl", "build", of, *arguments, cache=tmp_path / "cache", **env)

    return built


def succeeded(result):
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_prints_certificate_facts_and_golden_images_and_nothing_on_stderr(version, bundle, build):
    before = listing(bundle)
    result = succeeded(build(version=version))
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{bundle}/model.plan: ssl_resnet18, fp16, TensorRT {version}.")
    assert "NVIDIA Stand-in A100 (compute capability 8.0)" in lines[0]
    assert "batch 1:8:32" in lines[1]
    assert "licence CC-BY-NC-4.0" in lines[1]
    # ResNet-18: 20 convolutions and the classifier.
    assert any(line.split()[-1:] == ["21"] and line.startswith("promised INT8 or FP16") for line in lines)
    assert "100.0% of MACs; 100.0% required: pass" in result.stdout
    assert lines[-1].startswith("golden images: logits ")
    assert lines[-1].endswith("4 of 4 same top-1")
    after = listing(bundle)
    assert set(after) - set(before) == PLAN_FILES
    assert {name: after[name] for name in before} == before
    assert {(bundle / name).stat().st_mode & 0o777 for name in PLAN_FILES} == {0o644}


def test_json_is_the_sidecar(bundle, build):
    result = succeeded(build("--json"))
    assert json.loads(result.stdout) == json.loads((bundle / "model.plan.json").read_text())


def test_a_second_build_replaces_the_plan(bundle, build):
    succeeded(build("--profile", "1:2:4"))
    first = listing(bundle)
    succeeded(build("--profile", "3"))
    second = listing(bundle)
    assert set(second) == set(first)
    assert second["model.plan"] != first["model.plan"]
    options = json.loads((bundle / "model.plan.json").read_text())["options"]
    assert options["profile"] == {"min": 3, "opt": 3, "max": 3}


def test_the_timing_cache_is_named_by_version_and_gpu_and_reused(tmp_path, build):
    assert "timing cache new" in succeeded(build()).stdout
    file = tmp_path / "cache" / CACHE
    size = file.stat().st_size
    assert f"timing cache {size} bytes reused" in succeeded(build()).stdout
    gpu = {"name": "NVIDIA H100 PCIe", "major": 9, "minor": 0}
    assert "timing cache new" in succeeded(build(version="11.4", STANDIN_GPU=json.dumps(gpu))).stdout
    names = {entry.name for entry in file.parent.iterdir()}
    assert file.name in names
    assert len(names) == 2
    assert any(name.startswith("tensorrt-11.4.") and name.endswith("-nvidia-h100-pcie-sm90.cache") for name in names)


def test_no_timing_cache_is_written_where_none_is_wanted(tmp_path, build):
    assert "timing cache none" in succeeded(build("--timing-cache", "none")).stdout
    assert not (tmp_path / "cache" / CACHES).exists()


def test_a_timing_cache_that_is_corrupt_or_of_another_version_is_begun_anew_and_replaced(tmp_path, build):
    file = tmp_path / "times.cache"
    file.write_bytes(b"no timing cache")
    assert "timing cache not usable, started over" in succeeded(build("--timing-cache", file)).stdout
    assert f"timing cache {file.stat().st_size} bytes reused" in succeeded(build("--timing-cache", file)).stdout
    assert "not usable, started over" in succeeded(build("--timing-cache", file, version="10.3")).stdout


def test_two_builds_at_once_leave_a_whole_timing_cache(exported, tmp_path, build):
    bundles = [copy_bundle(exported.fp16, tmp_path / name) for name in ("one", "two")]
    processes = [start("run-ssl", "build", each, cache=tmp_path / "cache") for each in bundles]
    for process in processes:
        succeeded(finish(process))
    file = tmp_path / "cache" / CACHE
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
    assert f"timing cache {file.stat().st_size} bytes reused" in succeeded(build()).stdout


def test_verbose_shows_the_log_and_the_trtexec_commands_on_stderr(bundle, build):
    result = succeeded(build("--verbose", "--workspace", "512"))
    assert "Engine generation completed" in result.stderr
    old, new = (line for line in result.stderr.splitlines() if line.lstrip().startswith("trtexec "))
    for command in (old, new):
        assert f"--onnx={bundle}/model.onnx" in command
        assert "--optShapes=pixels:8x64x64x3" in command
        assert "--memPoolSize=workspace:512M" in command
    assert "--stronglyTyped" in old
    assert "--stronglyTyped" not in new
    assert "trtexec" not in result.stdout


@pytest.mark.parametrize("profile", ["garbage", "1:2", "8:4:16", "0"])
def test_an_impossible_profile_is_a_usage_error(profile, bundle, build):
    before = listing(bundle)
    refused(build("--profile", profile), f"--profile {profile}", code=2)
    assert listing(bundle) == before


def test_a_directory_is_no_timing_cache(tmp_path, build):
    refused(build("--timing-cache", tmp_path), "is a directory: expected a file", code=2)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [("none", ["CUDA finds no GPU", "nvidia-smi"]), ("nodriver", ["NVIDIA driver"])],
)
def test_a_machine_without_a_gpu_is_told_so(gpu, words, bundle, build):
    before = listing(bundle)
    refused(build(STANDIN_GPU=gpu), *words)
    assert listing(bundle) == before


def test_a_machine_without_tensorrt_is_told_what_to_install(bundle, build):
    before = listing(bundle)
    refused(build(version=""), "TensorRT", "pip install")
    assert listing(bundle) == before


def test_int8_for_cpus_is_refused_with_the_command_that_makes_the_other(exported, tmp_path, build):
    def edit(manifest):
        manifest["precision"].update(name="int8-fp16", int8=INT8_FOR_CPUS)

    target = copy_bundle(exported.fp16, tmp_path / "cpu", edit=edit)
    before = listing(target)
    refused(build(of=target), "INT8 for CPUs", "export-ssl --int8 --int8-target tensorrt")
    assert listing(target) == before


def with_nodes(bundle, change):
    """Return the bundle's graph after `change(graph)`."""
    model = onnx.load(bundle / "model.onnx")
    change(model.graph)
    return {"model.onnx": model.SerializeToString()}


def test_every_node_that_tensorrt_does_not_take_is_told(exported, tmp_path, build):
    def change(graph):
        for node in graph.node:
            if node.name in ("layer1.0.act1", "layer2.0.act2"):
                node.op_type = "Shrink"

    target = copy_bundle(exported.fp16, tmp_path / "strange", files=with_nodes(exported.fp16, change))
    before = listing(target)
    result = build(of=target)
    refused(result, "2 faults", "'layer1.0.act1' (Shrink)", "'layer2.0.act2' (Shrink)", "[UNSUPPORTED_NODE]")
    assert listing(target) == before


def test_a_transpose_of_pixels_before_their_cast_is_told(exported, tmp_path, build):
    def change(graph):
        # As bundles were written before: NHWC to NCHW on the pixels themselves, and the cast behind it.
        graph.node.insert(0, helper.make_node("Transpose", ["pixels"], ["turned"], "input.nchw", perm=(0, 3, 1, 2)))
        graph.node.insert(1, helper.make_node("Transpose", ["turned"], ["back"], "input.nhwc", perm=(0, 2, 3, 1)))
        for node in list(graph.node)[2:]:
            node.input[:] = ["back" if name == "pixels" else name for name in node.input]

    target = copy_bundle(exported.fp16, tmp_path / "old", files=with_nodes(exported.fp16, change))
    refused(build(of=target), "'input.nchw' (Transpose)", "UINT8", "[UNSUPPORTED_NODE_DATATYPE]")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path, build):
    refused(build(of=tmp_path / "absent"), "absent")
    (tmp_path / "empty").mkdir()
    refused(build(of=tmp_path / "empty"), "bundle.json")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_changed_graph_is_refused(bundle, build):
    (bundle / "model.onnx").write_bytes(b"changed")
    before = listing(bundle)
    refused(build(), "model.onnx")
    assert listing(bundle) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_a_bundle_that_cannot_be_written_is_refused(bundle, build):
    bundle.chmod(0o555)
    try:
        refused(build(), "cannot write into", "copy the bundle")
    finally:
        bundle.chmod(0o755)


def test_a_folder_of_the_users_named_like_a_package_does_not_get_in_the_way(bundle, tmp_path, build):
    assert bundle.parent == tmp_path
    for name in ("runtime", "numpy", "tensorrt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    # Beside them the paths of the bundle and the timing cache are relative ones.
    result = succeeded(build("--timing-cache", "times.cache", of="bundle", cwd=tmp_path))
    assert result.stdout.startswith("bundle/model.plan: ")
    assert (tmp_path / "times.cache").is_file()
