"""Why a plan cannot be loaded here, each case with its sentence; the plan and the machines are made by hand."""

import dataclasses
import hashlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.engines.trt.cuda_calls import CudaSystem, GpuDevice
from runtime.engines.trt.machine import Machine
from runtime.engines.trt.preflight import check_plan
from runtime.engines.trt.versions import find_tensorrt
from runtime.errors import BundleError, EngineError
from tests.helpers.bundles import write_hand_made
from tests.helpers.plans import gpu, machine, plan_bytes, put_plan, put_rtx_plan, rtx_machine, rtx_plan_bytes

RTX_3090, RTX_4090, T4, H100 = (
    gpu("NVIDIA GeForce RTX 3090", "8.6"),
    gpu("NVIDIA GeForce RTX 4090", "8.9"),
    gpu("Tesla T4", "7.5"),
    gpu("NVIDIA H100 80GB HBM3", "9.0"),
)
A100_40GB, GB200 = gpu("NVIDIA A100-SXM4-40GB", "8.0"), gpu("NVIDIA GB200", "10.0")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(write_hand_made(tmp_path / "bundle"))


def refusal(bundle: Bundle, here: Machine, *, kind: type[Exception], rebuild: bool = True) -> str:
    """Return the one line that refuses a plan; a rebuild that mends it is named with the bundle."""
    with pytest.raises(kind) as refused:
        check_plan(bundle, here)
    text = str(refused.value)
    assert "\n" not in text
    assert ("run-ssl build" in text) == rebuild, text
    return text


def test_plan_for_this_machine_comes_back_as_it_lies_on_disk(bundle: Bundle) -> None:
    plan = put_plan(bundle.path)
    checked = check_plan(bundle, machine())
    assert checked.plan == plan == (bundle.path / "model.plan").read_bytes()
    assert checked.sidecar.model == "tiny"


def test_bundle_is_whole_with_a_plan_in_it(bundle: Bundle) -> None:
    put_plan(bundle.path)
    assert open_bundle(bundle.path).manifest == bundle.manifest


def with_module(monkeypatch: pytest.MonkeyPatch, version: str) -> Machine:
    """Return a machine by what a TensorRT of some version makes of `find_tensorrt`."""
    module = types.ModuleType("tensorrt")
    module.__dict__["__version__"] = version
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    found, problem = find_tensorrt()
    return dataclasses.replace(machine(), tensorrt=found, tensorrt_problem=problem)


def test_machine_without_tensorrt_is_told_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    put_plan(bundle.path)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr(sys, "path", [])
    found, problem = find_tensorrt()
    here = dataclasses.replace(machine(), tensorrt=found, tensorrt_problem=problem)
    text = refusal(bundle, here, kind=EngineError, rebuild=False)
    assert "TensorRT is not installed: pip install 'export-ssl[gpu]'" in text


@pytest.mark.parametrize("version", ["10.2.0.19", "8.6.1", "12.0.0.1"])
def test_tensorrt_outside_the_supported_versions_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    put_plan(bundle.path)
    text = refusal(bundle, with_module(monkeypatch, version), kind=EngineError, rebuild=False)
    assert f"TensorRT {'.'.join((*version.split('.'), '0')[:4])} is installed, expected 10.3 to 11.x" in text


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", "11.4.0.2"])
def test_supported_tensorrt_is_no_problem(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    assert with_module(monkeypatch, version).problem == ""


@pytest.mark.parametrize(
    "problem",
    [
        "there is no NVIDIA driver: install it, or use a machine with an NVIDIA GPU",
        "CUDA finds no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES",
    ],
    ids=["driver", "device"],
)
def test_machine_without_driver_or_gpu_says_which(bundle: Bundle, problem: str) -> None:
    put_plan(bundle.path)
    here = dataclasses.replace(machine(), cuda=CudaSystem("", "13.0", (), problem))
    assert here.device is None
    assert refusal(bundle, here, kind=EngineError, rebuild=False) == problem


def test_bundle_without_a_plan_names_the_command_that_builds_one(bundle: Bundle) -> None:
    text = refusal(bundle, machine(), kind=BundleError)
    assert text == (f"{bundle.path} has no model.plan: build one on this machine with `run-ssl build {bundle.path}`")


def test_plan_without_its_description_is_refused(bundle: Bundle) -> None:
    put_plan(bundle.path)
    (bundle.path / "model.plan.json").unlink()
    assert "no readable model.plan.json beside it" in refusal(bundle, machine(), kind=BundleError)


def test_broken_description_is_refused(bundle: Bundle) -> None:
    put_plan(bundle.path)
    (bundle.path / "model.plan.json").write_text('{"schema_version": 1', encoding="utf-8")
    assert "model.plan.json is not JSON" in refusal(bundle, machine(), kind=BundleError)


def test_description_of_a_newer_schema_asks_for_an_upgrade(bundle: Bundle) -> None:
    put_plan(bundle.path, schema_version=2)
    text = refusal(bundle, machine(), kind=BundleError, rebuild=False)
    assert "has schema version 2, this run-ssl reads up to 1: upgrade" in text


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (b"PK\x03\x04" + bytes(100), "is not a TensorRT plan: it begins with b'PK\\x03\\x04'"),
        (b"\x02\0\0\0{}" + plan_bytes(), "has JSON before the plan, as Ultralytics writes it"),
        (plan_bytes()[:20], "less than a plan's header: it is truncated"),
        (b"", "is not a TensorRT plan"),
        (plan_bytes()[:4] + b"\x03" + plan_bytes()[5:], "has serialisation version 3, expected 0"),
    ],
    ids=["zip", "wrapped", "header", "empty", "serialisation"],
)
def test_file_that_is_no_plain_plan_is_refused_though_its_hash_is_right(
    bundle: Bundle, plan: bytes, words: str
) -> None:
    put_plan(bundle.path, plan, plan_bytes=max(len(plan), 1))
    assert words in refusal(bundle, machine(), kind=BundleError)


def test_truncated_plan_says_how_many_bytes_are_missing(bundle: Bundle) -> None:
    plan = put_plan(bundle.path)
    (bundle.path / "model.plan").write_bytes(plan[:-10])
    text = refusal(bundle, machine(), kind=BundleError)
    assert f"has {len(plan) - 10} bytes, {len(plan)} were built: it is truncated" in text


def test_longer_plan_was_changed(bundle: Bundle) -> None:
    plan = put_plan(bundle.path)
    (bundle.path / "model.plan").write_bytes(plan + b"\0")
    assert "were built: it is changed" in refusal(bundle, machine(), kind=BundleError)


@pytest.mark.parametrize("position", [8, 24, 28, -1])
def test_one_changed_byte_is_found(bundle: Bundle, position: int) -> None:
    plan = bytearray(put_plan(bundle.path))
    plan[position] ^= 1
    (bundle.path / "model.plan").write_bytes(plan)
    assert "was changed after it was built (its sha256 differs)" in refusal(bundle, machine(), kind=BundleError)


def test_plan_of_another_network_names_both_hashes(bundle: Bundle) -> None:
    other, own = "ab" * 32, hashlib.sha256((bundle.path / "model.onnx").read_bytes()).hexdigest()
    put_plan(bundle.path, onnx_sha256=other)
    text = refusal(bundle, machine(), kind=BundleError)
    assert f"was built from another model.onnx (sha256 {other[:12]}…, the bundle's is {own[:12]}…)" in text


def test_header_and_description_must_state_one_version(bundle: Bundle) -> None:
    put_plan(bundle.path, plan_bytes((10, 9, 0, 34)))
    text = refusal(bundle, machine(), kind=BundleError)
    assert "says TensorRT 10.9.0.34, but model.plan.json says 10.16.1.11" in text


def test_build_number_is_a_packagings_and_may_differ(bundle: Bundle) -> None:
    put_plan(bundle.path, plan_bytes((10, 16, 1, 4)))
    assert check_plan(bundle, machine("10.16.1.99"))


def test_description_with_a_version_that_is_none_is_one_line(bundle: Bundle) -> None:
    put_plan(bundle.path, tensorrt="newest")
    with pytest.raises((BundleError, EngineError), match="newest"):
        check_plan(bundle, machine())


@pytest.mark.parametrize("options", [{}, {"version_compatible": True, "hardware_compatibility": "ampere+"}])
def test_plan_of_another_platform_is_refused_however_compatible(bundle: Bundle, options: dict[str, Any]) -> None:
    put_plan(bundle.path, **options)
    text = refusal(bundle, machine(platform="linux-aarch64"), kind=EngineError)
    assert "was built on linux-x86_64, this is linux-aarch64" in text


@pytest.mark.parametrize("installed", ["10.16.0.1", "10.15.1.11", "10.17.1.11", "11.4.0.2"])
def test_plan_runs_in_the_version_that_built_it_alone(bundle: Bundle, installed: str) -> None:
    put_plan(bundle.path)
    text = refusal(bundle, machine(installed), kind=EngineError)
    assert f"was built by TensorRT 10.16.1.11, this is {installed}: build it again" in text


@pytest.mark.parametrize("installed", ["10.16.1.11", "10.16.2.1", "10.17.0.1", "11.0.0.1", "11.4.0.2"])
def test_version_compatible_plan_runs_in_later_versions(bundle: Bundle, installed: str) -> None:
    put_plan(bundle.path, version_compatible=True)
    assert check_plan(bundle, machine(installed)).sidecar.options.version_compatible


@pytest.mark.parametrize(
    ("built", "installed"), [("10.16.1.11", "10.9.0.34"), ("10.16.1.11", "10.16.0.99"), ("11.1.0.106", "10.16.1.11")]
)
def test_version_compatible_plan_runs_in_no_earlier_version(bundle: Bundle, built: str, installed: str) -> None:
    major, minor, patch, build = (int(part) for part in built.split("."))
    put_plan(bundle.path, plan_bytes((major, minor, patch, build)), tensorrt=built, version_compatible=True)
    text = refusal(bundle, machine(installed), kind=EngineError)
    assert f"was built by TensorRT {built}, this is {installed}, and a plan never runs in an earlier version" in text


@pytest.mark.parametrize(("built", "installed"), [("10.16.1.11", "12.0.0.1"), ("9.3.0.1", "11.4.0.2")])
def test_version_compatible_plan_runs_in_the_next_major_version_at_most(
    bundle: Bundle, built: str, installed: str
) -> None:
    major, minor, patch, build = (int(part) for part in built.split("."))
    put_plan(bundle.path, plan_bytes((major, minor, patch, build)), tensorrt=built, version_compatible=True)
    text = refusal(bundle, machine(installed), kind=EngineError)
    assert f"was built by TensorRT {built}, this is {installed}, too far from it" in text


@pytest.mark.parametrize("here", [A100_40GB, RTX_3090, T4, H100], ids=lambda device: device.name)
def test_plan_runs_on_the_gpu_that_it_was_built_for_alone(bundle: Bundle, here: GpuDevice) -> None:
    put_plan(bundle.path)
    text = refusal(bundle, machine(device=here), kind=EngineError)
    assert "was built for NVIDIA A100 80GB PCIe (compute capability 8.0)" in text
    assert f"this is {here.name} (compute capability {here.compute_capability})" in text


@pytest.mark.parametrize("here", [A100_40GB, RTX_3090, RTX_4090, H100, GB200], ids=lambda device: device.name)
def test_ampere_plus_plan_runs_on_ampere_and_later(bundle: Bundle, here: GpuDevice) -> None:
    put_plan(bundle.path, hardware_compatibility="ampere+")
    assert check_plan(bundle, machine(device=here))


def test_ampere_plus_plan_does_not_run_on_turing(bundle: Bundle) -> None:
    put_plan(bundle.path, hardware_compatibility="ampere+")
    text = refusal(bundle, machine(device=T4), kind=EngineError)
    assert (
        "was built for Ampere and later GPUs, compute capability 8.0, this is Tesla T4 (compute capability 7.5)" in text
    )


def test_plan_for_a_compute_capability_runs_on_every_gpu_of_it(bundle: Bundle) -> None:
    put_plan(bundle.path, hardware_compatibility="same-compute-capability")
    assert check_plan(bundle, machine(device=A100_40GB))


@pytest.mark.parametrize("here", [RTX_3090, T4, H100], ids=lambda device: device.name)
def test_plan_for_a_compute_capability_runs_on_no_other(bundle: Bundle, here: GpuDevice) -> None:
    put_plan(bundle.path, hardware_compatibility="same-compute-capability")
    text = refusal(bundle, machine(device=here), kind=EngineError)
    assert f"was built for compute capability 8.0, this is {here.name}" in text


@pytest.mark.parametrize("target", ["outside.plan", "absent.plan"])
def test_plan_that_is_a_link_out_of_the_bundle_is_refused(bundle: Bundle, tmp_path: Path, target: str) -> None:
    plan = put_plan(bundle.path)
    (tmp_path / "outside.plan").write_bytes(plan)
    (bundle.path / "model.plan").unlink()
    (bundle.path / "model.plan").symlink_to(tmp_path / target)
    text = refusal(bundle, machine(), kind=BundleError, rebuild=False)
    assert "leads out of the bundle: expected a plain file" in text


def test_plan_that_links_to_itself_is_one_line(bundle: Bundle) -> None:
    (bundle.path / "model.plan").symlink_to("model.plan")
    refusal(bundle, machine(), kind=BundleError, rebuild=False)


def test_plan_that_is_a_directory_is_one_line(bundle: Bundle) -> None:
    (bundle.path / "model.plan").mkdir()
    assert "model.plan cannot be read (" in refusal(bundle, machine(), kind=BundleError, rebuild=False)


def test_hash_in_the_description_that_was_forged_is_found(bundle: Bundle) -> None:
    put_plan(bundle.path)
    file = bundle.path / "model.plan.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**fields, "plan_sha256": "0" * 64}), encoding="utf-8")
    assert "its sha256 differs" in refusal(bundle, machine(), kind=BundleError)


@pytest.mark.parametrize("platform", ["linux-x86_64", "win32-amd64"])
@pytest.mark.parametrize("here", [A100_40GB, RTX_3090, RTX_4090], ids=lambda device: device.name)
def test_plan_for_rtx_runs_on_ampere_and_later_on_linux_and_windows(
    bundle: Bundle, here: GpuDevice, platform: str
) -> None:
    plan = put_rtx_plan(bundle.path)
    assert check_plan(bundle, rtx_machine(here, platform=platform)).plan == plan


def test_plan_for_rtx_runs_on_a_gpu_that_is_newer_than_the_library(bundle: Bundle) -> None:
    put_rtx_plan(bundle.path)
    assert check_plan(bundle, rtx_machine(gpu("NVIDIA GeForce RTX 6090", "13.0")))


@pytest.mark.parametrize("here", [T4, RTX_3090], ids=lambda device: device.name)
def test_plan_for_rtx_runs_on_the_gpus_that_it_names_alone(bundle: Bundle, here: GpuDevice) -> None:
    put_rtx_plan(bundle.path, compute_capabilities=["8.9"])
    assert check_plan(bundle, rtx_machine(RTX_4090))
    text = refusal(bundle, rtx_machine(here), kind=EngineError)
    number = here.compute_capability.replace(".", "")
    assert (
        f"is for Ada (compute capability 8.9), this is {here.name} (compute capability {here.compute_capability}), "
        f"which `--compute-capability {number}` names: build it again with `run-ssl build {bundle.path} --engine "
        "tensorrt-rtx`"
    ) in text


@pytest.mark.parametrize("here", [H100, GB200, gpu("Orin", "8.7")], ids=lambda device: device.name)
def test_gpu_that_rtx_does_not_support_is_pointed_to_tensorrt(bundle: Bundle, here: GpuDevice) -> None:
    put_rtx_plan(bundle.path)
    assert refusal(bundle, rtx_machine(here), kind=EngineError) == (
        f"TensorRT for RTX does not support {here.name} (compute capability {here.compute_capability}): build a plan "
        "of TensorRT there with `run-ssl build`"
    )


@pytest.mark.parametrize("installed", ["1.8.0.1", "1.7.2.1", "1.6.1.116"])
def test_plan_for_rtx_runs_in_no_other_release(bundle: Bundle, installed: str) -> None:
    put_rtx_plan(bundle.path)
    text = refusal(bundle, rtx_machine(version=installed), kind=EngineError)
    assert f"was built by TensorRT for RTX 1.7.1.116, this is {installed}: build it again" in text


def test_plan_for_rtx_runs_on_no_arm_processor(bundle: Bundle) -> None:
    put_rtx_plan(bundle.path)
    text = refusal(bundle, rtx_machine(platform="linux-aarch64"), kind=EngineError)
    assert "runs on linux-x86_64 and win32-amd64, this is linux-aarch64" in text


def test_plan_of_the_other_library_is_named(bundle: Bundle) -> None:
    put_plan(bundle.path, rtx_plan_bytes())
    text = refusal(bundle, machine(), kind=BundleError)
    assert text == (
        f"{bundle.path / 'model.plan'} is a plan of TensorRT for RTX, which TensorRT does not load: TensorRT for RTX's "
        "is named model.rtx.plan; build it again with `run-ssl build`"
    )
    put_rtx_plan(bundle.path, plan_bytes())
    text = refusal(bundle, rtx_machine(), kind=BundleError)
    assert text == (
        f"{bundle.path / 'model.rtx.plan'} is a plan of TensorRT, which TensorRT for RTX does not load: TensorRT's is "
        "named model.plan; build it again with `run-ssl build --engine tensorrt-rtx`"
    )


def test_description_of_the_other_librarys_plan_is_named(bundle: Bundle) -> None:
    put_rtx_plan(bundle.path, engine="tensorrt")
    text = refusal(bundle, rtx_machine(), kind=BundleError)
    assert "model.rtx.plan.json describes a plan of TensorRT, not of TensorRT for RTX: build it again" in text


def test_bundle_with_the_other_librarys_plan_alone_says_so(bundle: Bundle) -> None:
    put_rtx_plan(bundle.path)
    assert refusal(bundle, machine(), kind=BundleError) == (
        f"{bundle.path} has no model.plan, only model.rtx.plan, which TensorRT for RTX alone loads: build one on this "
        f"machine with `run-ssl build {bundle.path}`"
    )
    (bundle.path / "model.rtx.plan").unlink()
    put_plan(bundle.path)
    assert refusal(bundle, rtx_machine(), kind=BundleError) == (
        f"{bundle.path} has no model.rtx.plan, only model.plan, which TensorRT alone loads: build one with `run-ssl "
        f"build {bundle.path} --engine tensorrt-rtx`"
    )


def test_machine_without_tensorrt_for_rtx_is_told_what_to_install(bundle: Bundle) -> None:
    put_rtx_plan(bundle.path)
    problem = "TensorRT for RTX is not installed: pip install 'export-ssl[rtx]'"
    here = dataclasses.replace(rtx_machine(), tensorrt=None, tensorrt_problem=problem)
    assert refusal(bundle, here, kind=EngineError, rebuild=False) == problem
