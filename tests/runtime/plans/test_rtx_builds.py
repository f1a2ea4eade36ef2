"""Plans of TensorRT for RTX, built by NVIDIA's own compiler on this machine, which needs no GPU for that."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.plan_json import BatchProfile, BuildOptions, Sidecar
from runtime.errors import EngineError, UsageError, VerificationError
from runtime.plans.build_plan import build_plan
from runtime.plans.inspector import read_layer_information
from runtime.plans.traffic import traffic
from tests.conftest import Drawn, Exported
from tests.helpers.command_lines import refused
from tests.helpers.exported import copy_bundle
from tests.helpers.standin_commands import finish, listing, members, run, start, wait_until
from tests.helpers.tools import needs_rtx

pytestmark = needs_rtx
Found = Callable[[str], Path]
# Byte 32 of a plan has a bit for each compute capability, lowest first: what NVIDIA's compiler wrote was compared.
BITS = {"7.5": 1, "8.0": 2, "8.6": 4, "8.9": 8, "12.0": 16, "12.1": 32}
TURING, AMPERE, ADA, BLACKWELL = ("7.5",), ("8.0", "8.6"), ("8.9",), ("12.0", "12.1")
AFTER_TURING = (*AMPERE, *ADA, *BLACKWELL)
# Convolutions and classifier of the networks.
RESNET18, RESNET50 = 21, 54
# Bundle, GPUs, and how many layers promise INT8 or FP16: in INT8 alone all but the classifier.
BUILDS = [
    ("fp32", AMPERE, 0),
    ("fp32", ADA, 0),
    ("fp32", BLACKWELL, 0),
    *[("fp16", gpus, RESNET18) for gpus in (TURING, AMPERE, ADA, BLACKWELL)],
    *[("int8", gpus, RESNET18 - 1) for gpus in (AMPERE, ADA, BLACKWELL)],
    *[("int8-fp16", gpus, RESNET18) for gpus in (AMPERE, ADA, BLACKWELL)],
    ("ssl_resnet50-fp16", TURING, RESNET50),
    ("ssl_resnet50-fp16", AFTER_TURING, RESNET50),
    ("ssl_resnext50_32x4d-fp16", TURING, RESNET50),
    ("ssl_resnext50_32x4d-fp16", AFTER_TURING, RESNET50),
    ("resnext50_32x4d-int8", AFTER_TURING, RESNET50 - 1),
    # Every other graph that an export can write.
    ("int8-classifier-float32-input", (), RESNET18),
    ("int8-fp16-float-weights", (), RESNET18),
    ("int8-rtx", AFTER_TURING, RESNET18),
]


@pytest.fixture
def bundle(exported: Exported, drawn: Drawn, tmp_path: Path) -> Found:
    """Return a copy of a bundle by name."""

    def copy(name: str) -> Path:
        own = {"fp32": exported.fp32, "fp16": exported.fp16}
        return shutil.copytree(own.get(name) or drawn(name), tmp_path / name)

    return copy


def build(bundle: Path, *gpus: str, **options: Any) -> Sidecar:
    return build_plan(bundle, BuildOptions(engine="tensorrt-rtx", compute_capabilities=gpus, **options)).sidecar


@pytest.mark.parametrize(("name", "gpus", "promised"), BUILDS, ids=lambda value: str(value).replace("'", ""))
def test_nvidias_compiler_takes_the_graph_and_keeps_every_promise(
    name: str, gpus: tuple[str, ...], promised: int, bundle: Found
) -> None:
    path = bundle(name)
    certificate = build(path, *gpus).certificate
    assert (certificate.kept, certificate.promised) == (promised, promised)
    assert all(verdict.engine_layer for verdict in certificate.verdicts)
    header = (path / "model.rtx.plan").read_bytes()[:33]
    assert header[:4] == b"vtrt"
    assert header[32] == sum(BITS[gpu] for gpu in gpus) if gpus else header[32] & 1 == 0


def test_with_one_scale_for_a_weight_every_convolution_reads_int8_and_writes_half(bundle: Found) -> None:
    found = {}
    for name in ("int8-rtx", "int8-fp16"):
        path = bundle(name)
        build(path)
        information = read_layer_information((path / "model.rtx.plan.layers.json").read_text(encoding="utf-8"))
        found[name] = [layer for layer in information.layers if layer.kind == "correlation"]
        written = {tensor.datatype for layer in found[name] for tensor in layer.outputs}
        assert len(found[name]) == RESNET18 - 1
        assert {layer.inputs[0].datatype for layer in found[name]} == {"int8"}
        # With a scale for each channel they write floats, which a second kernel takes on.
        assert written == ({"fp16"} if name == "int8-rtx" else {"fp32"})
        # Behind either, kernels of their own make INT8 of it; only those of floats say that no scale was fused.
        counts = traffic(information)
        assert counts is not None
        assert counts.rescaling
        assert counts.wide == (name != "int8-rtx")


def test_the_description_says_what_was_built_and_what_was_not_run(bundle: Found) -> None:
    path = bundle("fp16")
    before = listing(path)
    sidecar = build(path, "8.6", "8.9", profile=BatchProfile(min=1, opt=2, max=4))
    written = json.loads((path / "model.rtx.plan.json").read_text(encoding="utf-8"))
    assert Sidecar.model_validate(written) == sidecar
    assert written["tensorrt"].startswith("1.")
    assert written["options"]["engine"] == "tensorrt-rtx"
    assert written["options"]["compute_capabilities"] == ["8.6", "8.9"]
    assert (written["gpu"], written["driver"], written["golden"], written["timing_cache"]) == ("", "", None, "none")
    assert written["plan_bytes"] == (path / "model.rtx.plan").stat().st_size
    # Two activations of 64 channels and 32 x 32 pixels in FP16 at once, four images, and what rounds them up.
    assert 4 * 2 * 64 * 32 * 32 * 2 <= written["device_memory_bytes"] < 10 * 4 * 2 * 64 * 32 * 32 * 2
    assert {*listing(path)} - {*before} == {"model.rtx.plan", "model.rtx.plan.json", "model.rtx.plan.layers.json"}


def test_a_plan_of_tensorrts_beside_it_stays(bundle: Found) -> None:
    path = bundle("fp16")
    others = ("model.plan", "model.plan.json", "model.plan.layers.json", "model.plan.rejected.json")
    for name in others:
        (path / name).write_text(name)
    build(path)
    assert [(path / name).read_text() for name in others] == [*others]


def test_naming_turing_takes_int8_from_every_gpu_which_the_certificate_sees(bundle: Found) -> None:
    path = bundle("int8-fp16")
    with pytest.raises(VerificationError, match=r"1 of 21 layers .* ran in fp16 .*with Turing among its GPUs.* all of"):
        build(path, *TURING, *AMPERE)
    assert not (path / "model.rtx.plan").exists()
    # What is asked for decides; a plan that keeps the classifier's promise alone can be had.
    certificate = build(path, *TURING, *AMPERE, required_share=0).certificate
    assert {verdict.ran for verdict in certificate.verdicts} == {"fp16"}
    assert not (path / "model.rtx.plan.rejected.json").exists()


def test_a_promise_that_is_broken_leaves_the_layers_alone(bundle: Found, tmp_path: Path) -> None:
    original = bundle("int8")
    listed = json.loads((original / "layers.json").read_text(encoding="utf-8"))
    for layer in listed["layers"]:
        if layer["name"] == "fc":
            layer["precision"] = "int8"
    path = copy_bundle(original, tmp_path / "promising", files={"layers.json": json.dumps(listed).encode()})
    result = run("run-ssl", "build", path, "--engine", "tensorrt-rtx", cache=path, version="")
    refused(result, "20 of 21 layers", "fc was promised int8 and ran in fp32", "model.rtx.plan.rejected.json")
    assert (path / "model.rtx.plan.rejected.json").is_file()
    assert not (path / "model.rtx.plan").exists()


def test_the_command_prints_certificate_and_facts_and_nothing_on_stderr(bundle: Found, tmp_path: Path) -> None:
    path = bundle("fp16")
    arguments = ("build", path, "--engine", "tensorrt-rtx", "--gpu", "turing,ada")
    result = run("run-ssl", *arguments, cache=tmp_path, version="")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, *_, last = result.stdout.splitlines()
    assert first.startswith(f"{path}/model.rtx.plan: ssl_resnet18, fp16, TensorRT for RTX 1.")
    assert first.endswith("Turing, Ada (compute capabilities 7.5, 8.9)")
    assert "timing cache" not in second
    assert "100.0% of MACs; 100.0% required: pass" in result.stdout
    assert last.startswith("golden images: not run")


def test_the_whole_log_is_shown_when_it_is_asked_for(bundle: Found, tmp_path: Path) -> None:
    result = run(
        "run-ssl", "build", bundle("fp16"), "--engine", "tensorrt-rtx", "--verbose", cache=tmp_path, version=""
    )
    assert result.exit_code == 0
    assert "info: Compiler backend is used during engine build." in result.stderr
    assert "trtexec" not in result.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("fp32", ["--gpu", "turing"], ["no FP32 matrix product for Turing", "'fc'", "`export-ssl --fp16`"]),
        ("fp32", ["--profile", "1:8:100000000"], ["largest batch of --profile is too large", "1,099,511,627,776"]),
        ("int8-cpu", [], ["TensorRT for RTX accepts only signed ones", "--int8-target tensorrt"]),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(
    name: str, arguments: list[str], words: list[str], bundle: Found, tmp_path: Path
) -> None:
    path = bundle(name)
    before = listing(path)
    result = run("run-ssl", "build", path, "--engine", "tensorrt-rtx", *arguments, cache=tmp_path, version="")
    refused(result, *words)
    assert listing(path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--timing-cache", "file"], ["--timing-cache has no meaning", "chosen on the GPU that loads the plan"]),
        (["--version-compatible"], ["--version-compatible has no meaning"]),
        (["--hardware-compatible", "ampere+"], ["--hardware-compatible has no meaning", "--gpu"]),
        (["--optimization-level", "5"], ["--optimization-level has no meaning"]),
        (["--compute-capability", "87"], ["Jetson Orin", "TensorRT on that machine"]),
        (["--compute-capability", "90"], ["H100", "TensorRT on that machine"]),
        (["--gpu", "pascal"], ["expected some of turing, ampere, ada, blackwell"]),
    ],
)
def test_options_without_a_meaning_are_refused(
    arguments: list[str], words: list[str], bundle: Found, tmp_path: Path
) -> None:
    path = bundle("fp32")
    result = run("run-ssl", "build", path, "--engine", "tensorrt-rtx", *arguments, cache=tmp_path, version="")
    refused(result, *words, code=2)


def test_a_timing_cache_is_refused_by_the_library_too(bundle: Found, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TensorRT for RTX has no timing cache"):
        build_plan(bundle("fp32"), BuildOptions(engine="tensorrt-rtx"), timing_cache=tmp_path / "cache")


def test_a_damaged_graph_is_one_error(bundle: Found, tmp_path: Path) -> None:
    original = bundle("fp32")
    model = (original / "model.onnx").read_bytes()
    path = copy_bundle(original, tmp_path / "damaged", files={"model.onnx": model[: len(model) // 2]})
    with pytest.raises(EngineError, match=r"TensorRT for RTX cannot parse .*model\.onnx"):
        build(path)


@pytest.mark.parametrize("how", ["ctrl-c", "killed"])
def test_a_build_that_is_stopped_leaves_the_bundle_as_it_was(how: str, bundle: Found, tmp_path: Path) -> None:
    path = bundle("resnext50_32x4d-int8")
    before = listing(path)
    command = start("run-ssl", "build", path, "--engine", "tensorrt-rtx", cache=tmp_path, version="")
    wait_until(lambda: len(members(command.pid)) > 1)
    time.sleep(0.5)
    if how == "ctrl-c":
        os.killpg(command.pid, signal.SIGINT)
        result = finish(command)
        assert result.exit_code == 130
        assert "the build was stopped; nothing was changed" in result.stderr
    else:
        (worker,) = [process for process in members(command.pid) if process != command.pid]
        os.kill(worker, signal.SIGKILL)
        refused(finish(command), "the build was killed", "nothing was changed")
    assert listing(path) == before
