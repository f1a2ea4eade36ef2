"""What the doctor says, of this machine and of machines made by hand."""

import dataclasses
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import runtime.health.doctor
from runtime.commands.run_ssl import app
from runtime.engines.trt.cuda_calls import CudaSystem
from runtime.engines.trt.library import RTX, TENSORRT
from runtime.engines.trt.machine import Machine
from runtime.engines.trt.versions import Version
from runtime.health.doctor import Finding, examine
from runtime.health.doctor_table import as_json, render
from tests.helpers.bundles import write_hand_made
from tests.helpers.plans import gpu, machine, put_plan, put_rtx_plan, rtx_machine

NO_TENSORRT = "TensorRT is not installed: pip install 'export-ssl[gpu]' (CUDA 13) or 'export-ssl[gpu-cu12]' (CUDA 12)"
NO_RTX = "TensorRT for RTX is not installed: pip install 'export-ssl[rtx]' (CUDA 13)"
NO_DRIVER = "there is no NVIDIA driver: install it, or use a machine with an NVIDIA GPU"
CPU_ONLY = Machine(None, NO_TENSORRT, CudaSystem("", "13.0", (), NO_DRIVER), "linux-x86_64")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_hand_made(tmp_path / "bundle")


def findings(
    monkeypatch: pytest.MonkeyPatch, here: Machine, bundle: Path | None = None, *, rtx: Machine | None = None
) -> dict[str, Finding]:
    """Return what is found on a machine, by name; without `rtx` it has no TensorRT for RTX."""
    rtx = rtx or dataclasses.replace(here, tensorrt=None, tensorrt_problem=NO_RTX, library=RTX)
    machines = {TENSORRT.engine: here, RTX.engine: rtx}
    monkeypatch.setattr(runtime.health.doctor, "find_machine", lambda library=TENSORRT: machines[library.engine])
    return {finding.name: finding for finding in examine(bundle)}


def test_this_machine_is_examined_without_a_crash() -> None:
    found = {finding.name: finding for finding in examine()}
    assert {"Python", "CPU", "TensorRT", "onnxruntime", "OpenVINO", "PyTorch", "engines"} <= set(found)
    assert found["engines"].verdict == "ok"
    assert "CPUExecutionProvider" in found["onnxruntime"].text
    assert "usable cores" in found["CPU"].text
    assert all(finding.text and "\n" not in finding.text for finding in found.values())


def test_an_arm_machine_is_told_what_its_engines_compute_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("runtime.health.doctor.read_cpuinfo", lambda: {"Features": "fp asimd fphp asimdhp asimddp"})
    text = findings(monkeypatch, CPU_ONLY)["CPU"].text
    assert "onnxruntime adds up in FP16, and `onnxruntime:fp32` does not" in text
    assert "onnxruntime runs all layers in integers" in text
    monkeypatch.setattr("runtime.health.doctor.read_cpuinfo", lambda: {"Features": "fp asimd"})
    assert "adds up in FP16" not in findings(monkeypatch, CPU_ONLY)["CPU"].text


def test_machine_without_a_gpu_is_well_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, CPU_ONLY)
    assert (found["NVIDIA driver"].verdict, found["NVIDIA driver"].text) == ("missing", NO_DRIVER)
    assert (found["TensorRT"].verdict, found["TensorRT"].text) == ("missing", NO_TENSORRT)
    assert not [finding for finding in found.values() if finding.verdict == "bad"]
    assert "tensorrt" not in found["engines"].text


def test_machine_with_a_gpu_runs_tensorrt_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, machine())
    assert found["NVIDIA driver"].text == "supports CUDA up to 13.0"
    assert found["GPU 0"].text == "NVIDIA A100 80GB PCIe, compute capability 8.0, 81,920 MiB"
    assert (found["TensorRT"].verdict, found["TensorRT"].text) == ("ok", "10.16.1.11")
    assert found["engines"].text.startswith("tensorrt, ")


def test_every_gpu_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    second = dataclasses.replace(gpu("Tesla T4", "7.5"), index=1)
    here = dataclasses.replace(machine(), cuda=CudaSystem("13.0", "13.0", (gpu(), second), ""))
    found = findings(monkeypatch, here)
    assert found["GPU 1"].text.startswith("Tesla T4, compute capability 7.5")


@pytest.mark.parametrize(
    ("driver", "cuda_runtime", "verdict"),
    [("12.4", "13.0", "bad"), ("13.0", "13.1", "ok"), ("13.0", "12.8", "ok"), ("12.2", "12.9", "ok")],
)
def test_runtime_of_a_newer_major_version_than_the_driver_is_bad(
    monkeypatch: pytest.MonkeyPatch, driver: str, cuda_runtime: str, verdict: str
) -> None:
    cuda = CudaSystem(driver, cuda_runtime, (gpu(),), "")
    found = findings(monkeypatch, dataclasses.replace(machine(), cuda=cuda))["cuda-python"]
    assert found.verdict == verdict
    if verdict == "bad":
        assert found.text == (
            f"{cuda_runtime}, newer than the driver's {driver}: update the driver, or install 'export-ssl[gpu-cu12]'"
        )


def test_driver_without_a_gpu_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "CUDA finds no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    here = dataclasses.replace(machine(), cuda=CudaSystem("13.0", "13.0", (), problem))
    found = findings(monkeypatch, here)
    assert (found["GPU"].verdict, found["GPU"].text) == ("bad", problem)
    assert not found["engines"].text.startswith("tensorrt")


def test_tensorrt_that_is_too_old_is_bad_and_not_among_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "TensorRT 10.2.0.19 is installed, expected 10.3 to 11.x: pip install 'export-ssl[gpu]'"
    here = dataclasses.replace(machine(), tensorrt=Version(10, 2, 0, 19), tensorrt_problem=problem)
    found = findings(monkeypatch, here)
    assert (found["TensorRT"].verdict, found["TensorRT"].text) == ("bad", problem)
    assert not found["engines"].text.startswith("tensorrt")


def test_machine_without_any_engine_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.health.doctor, "installed_engines", lambda: ())
    found = findings(monkeypatch, CPU_ONLY)["engines"]
    assert found.verdict == "bad"
    assert "pip install 'export-ssl[cpu]'" in found.text


def test_cuda_python_that_is_absent_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "cuda-python cannot be imported (No module named 'cuda'): pip install 'export-ssl[gpu]'"
    found = findings(monkeypatch, dataclasses.replace(CPU_ONLY, cuda=CudaSystem("", "", (), problem)))
    assert (found["cuda-python"].verdict, found["cuda-python"].text) == ("missing", problem)


def test_both_onnxruntimes_at_once_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"onnxruntime": "1.32", "onnxruntime-gpu": "1.32"}
    monkeypatch.setattr("runtime.engines.ort_session.installed_versions", lambda _names: both)
    found = findings(monkeypatch, CPU_ONLY)["onnxruntime"]
    assert found.verdict == "bad"
    assert "are both installed and overwrite each other's files" in found.text


def test_whole_bundle_is_named_with_its_licence(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    found = findings(monkeypatch, CPU_ONLY, bundle)
    assert found["bundle"] == Finding("bundle", "ok", f"{bundle}: tiny, fp32, licence MIT, hashes right")
    assert found["plan"].verdict == "missing"
    assert "none is needed: this machine cannot run TensorRT" in found["plan"].text


def test_changed_bundle_is_bad_and_nothing_is_said_of_its_plan(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    put_plan(bundle)
    (bundle / "labels.txt").write_text("a\nb\nd\n", encoding="utf-8")
    found = findings(monkeypatch, machine(), bundle)
    assert found["bundle"].verdict == "bad"
    assert "it was changed after the export" in found["bundle"].text
    assert "plan" not in found


@pytest.mark.parametrize("what", ["absent", "file"])
def test_path_that_is_no_bundle_is_bad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    found = findings(monkeypatch, machine(), tmp_path / what)["bundle"]
    assert found.verdict == "bad"
    assert "is not a directory" in found.text


def test_bundle_whose_licence_is_gone_is_bad(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    (bundle / "LICENSE-WEIGHTS.txt").unlink()
    assert findings(monkeypatch, machine(), bundle)["bundle"].verdict == "bad"


def test_gpu_machine_without_a_plan_is_told_to_build_one(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    found = findings(monkeypatch, machine(), bundle)["plan"]
    assert (found.verdict, found.text) == ("missing", f"none: build one with `run-ssl build {bundle}`")


def test_plan_for_this_machine_is_well(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    put_plan(bundle)
    found = findings(monkeypatch, machine(), bundle)["plan"]
    assert (found.verdict, found.text) == ("ok", "TensorRT 10.16.1.11, NVIDIA A100 80GB PCIe, batch 1:8:32")


def test_plan_for_another_gpu_is_bad(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    put_plan(bundle)
    found = findings(monkeypatch, machine(device=gpu("Tesla T4", "7.5")), bundle)["plan"]
    assert found.verdict == "bad"
    assert found.text == (
        "was built for NVIDIA A100 80GB PCIe (compute capability 8.0), this is Tesla T4 (compute capability 7.5): "
        f"build it again with `run-ssl build {bundle}`"
    )


def test_whole_plan_on_a_machine_without_tensorrt_is_no_fault(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    put_plan(bundle)
    found = findings(monkeypatch, CPU_ONLY, bundle)["plan"]
    assert found.verdict == "missing"
    assert found.text.startswith(
        "undamaged, for TensorRT 10.16.1.11, NVIDIA A100 80GB PCIe, batch 1:8:32; it cannot run h"
    )


@pytest.mark.parametrize("here", [CPU_ONLY, machine()], ids=["cpu", "gpu"])
def test_damaged_plan_is_bad_on_every_machine(monkeypatch: pytest.MonkeyPatch, bundle: Path, here: Machine) -> None:
    plan = put_plan(bundle)
    (bundle / "model.plan").write_bytes(plan[:-1])
    found = findings(monkeypatch, here, bundle)["plan"]
    assert found.verdict == "bad"
    assert "it is truncated" in found.text


@pytest.mark.parametrize("change", [{"tensorrt": "newest"}, {"schema_version": 2}, {"precision": "int4"}])
def test_strange_description_is_bad_and_no_crash(
    monkeypatch: pytest.MonkeyPatch, bundle: Path, change: dict[str, Any]
) -> None:
    put_plan(bundle, **change)
    assert findings(monkeypatch, machine(), bundle)["plan"].verdict == "bad"


def test_both_libraries_are_listed_with_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, CPU_ONLY)["TensorRT for RTX"]
    assert (found.verdict, found.text) == ("missing", NO_RTX)
    builder = dataclasses.replace(rtx_machine(), cuda=CPU_ONLY.cuda)
    found = findings(monkeypatch, CPU_ONLY, rtx=builder)["TensorRT for RTX"]
    assert (found.verdict, found.text) == ("ok", f"1.7.1.116, builds plans and runs none here: {NO_DRIVER}")
    everything = findings(monkeypatch, machine(), rtx=rtx_machine())
    assert everything["TensorRT for RTX"].text == "1.7.1.116"
    assert everything["engines"].text.startswith("tensorrt, tensorrt-rtx, ")


def test_gpu_that_rtx_does_not_support_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    h100 = gpu("NVIDIA H100", "9.0")
    found = findings(monkeypatch, machine(device=h100), rtx=rtx_machine(h100))
    assert "does not support NVIDIA H100 (compute capability 9.0): build a plan of TensorRT there" in (
        found["TensorRT for RTX"].text
    )
    assert "tensorrt-rtx" not in found["engines"].text


def test_plan_for_rtx_is_examined_beside_tensorrts(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    assert "plan for RTX" not in findings(monkeypatch, CPU_ONLY, bundle)
    none = findings(monkeypatch, machine(), bundle, rtx=rtx_machine())["plan for RTX"]
    assert none.text == f"none: build one with `run-ssl build {bundle} --engine tensorrt-rtx`"
    put_rtx_plan(bundle)
    found = findings(monkeypatch, machine(), bundle, rtx=rtx_machine())["plan for RTX"]
    assert (found.verdict, found.text) == ("ok", "TensorRT for RTX 1.7.1.116, Ampere and later RTX GPUs, batch 1:8:32")
    found = findings(monkeypatch, CPU_ONLY, bundle)["plan for RTX"]
    assert (found.verdict, found.text.partition(";")[2]) == ("missing", f" it cannot run here: {NO_RTX}")


def printed(found: tuple[Finding, ...], *, width: int = 200) -> str:
    file = io.StringIO()
    render(found, Console(file=file, width=width))
    return file.getvalue()


def test_square_brackets_are_printed_as_they_are() -> None:
    text = printed((Finding("TensorRT", "missing", NO_TENSORRT), Finding("bundle", "ok", "/data/[red]/x: whole")))
    assert "'export-ssl[gpu]'" in text
    assert "'export-ssl[gpu-cu12]'" in text
    assert "/data/[red]/x" in text


def test_verdicts_are_told_apart_without_colour() -> None:
    lines = printed((Finding("a", "ok", "x"), Finding("b", "missing", "y"), Finding("c", "bad", "z"))).splitlines()
    assert [line.split() for line in lines] == [["a", "ok", "x"], ["b", "-", "y"], ["c", "bad", "z"]]


def test_nothing_is_lost_on_a_narrow_terminal() -> None:
    text = printed((Finding("TensorRT", "missing", NO_TENSORRT),), width=50)
    words = text.replace("TensorRT", "", 1).replace("-", "", 1)
    assert "".join(words.split()) == "".join(NO_TENSORRT.split())


def test_json_has_every_finding_and_the_verdict(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setattr(runtime.health.doctor, "find_machine", lambda *_: machine())
    found = examine(bundle)
    told = json.loads(as_json(found))
    assert told["well"] is True
    assert [finding["name"] for finding in told["findings"]] == [finding.name for finding in found]
    assert set(told["findings"][0]) == {"name", "verdict", "text"}
    assert json.loads(as_json((*found, Finding("plan", "bad", "x"))))["well"] is False


def test_command_prints_json_alone_and_ends_well(bundle: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", str(bundle), "--json"])
    assert result.exit_code == 0, result.output
    names = [finding["name"] for finding in json.loads(result.stdout)["findings"]]
    assert names[0] == "Python"
    assert names[-2:] == ["bundle", "plan"]


def test_command_ends_with_one_where_the_bundle_is_bad(bundle: Path) -> None:
    shutil.rmtree(bundle / "golden")
    result = CliRunner().invoke(app, ["doctor", str(bundle)])
    assert result.exit_code == 1
    assert "is missing, although the manifest lists it" in " ".join(result.stdout.split())
    assert "Traceback" not in result.output
