"""onnxruntime's GPU providers, which fall back in silence and here may not; and which engine `auto` is."""

import json
import logging
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

import runtime.engines.open_engine
from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import EngineChoice, EngineOptions, load_engine, parse_engine, runnable_engines
from runtime.engines.ort_engine import OrtEngine
from runtime.engines.ort_session import find_strays
from runtime.errors import BundleError, EngineError, UsageError
from tests.conftest import Exported, Reference
from tests.helpers.exported import copy_bundle, decibels
from tests.helpers.plans import plan_bytes, put_plan

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
no_cuda = pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="onnxruntime has CUDA here")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("onnxruntime", EngineChoice("onnxruntime")),
        ("onnxruntime:cpu", EngineChoice("onnxruntime", provider="cpu")),
        ("onnxruntime:cuda", EngineChoice("onnxruntime", provider="cuda")),
        ("onnxruntime:tensorrt", EngineChoice("onnxruntime", provider="tensorrt")),
        ("onnxruntime:fp32", EngineChoice("onnxruntime", precision="fp32")),
        ("tensorrt", EngineChoice("tensorrt")),
        ("openvino:bf16", EngineChoice("openvino", precision="bf16")),
    ],
)
def test_engine_is_a_name_with_a_precision_or_a_provider(text: str, choice: EngineChoice) -> None:
    assert parse_engine(text) == choice


@pytest.mark.parametrize(
    "text", ["openvino:cuda", "tensorrt:cuda", "pytorch:tensorrt", "onnxruntime:rocm", "onnxruntime:CUDA"]
)
def test_provider_that_the_engine_lacks_is_refused_with_what_it_has(text: str) -> None:
    with pytest.raises(UsageError, match=f"engine {text}: no precision {text.partition(':')[2]}") as refused:
        parse_engine(text)
    assert ("cuda, tensorrt" in str(refused.value)) == text.startswith("onnxruntime:")


def event(operator: str, provider: str, *, suffix: str = "_kernel_time") -> dict[str, Any]:
    """Return one event as onnxruntime's profile has it."""
    arguments = {"op_name": operator, "provider": provider, "node_index": "5", "input_type_shape": []}
    return {"cat": "Node", "name": f"node{suffix}", "dur": 12, "ts": 1, "ph": "X", "args": arguments}


SESSION = {"cat": "Session", "name": "session_initialization", "dur": 9, "ts": 0, "ph": "X", "args": {}}


@pytest.mark.parametrize(
    ("events", "provider", "strays"),
    [
        ([event("Conv", CUDA)] * 20 + [event("Gemm", CUDA)], CUDA, ""),
        ([event("Conv", CUDA)] * 17 + [event("Conv", CPU)] * 3, CUDA, f"3 of 20 layers ran in {CPU}"),
        ([event("FusedConv", CPU)] * 2, CUDA, f"2 of 2 layers ran in {CPU}"),
        ([event("QLinearConv", CPU), event("MatMulInteger", CUDA)], CUDA, f"1 of 2 layers ran in {CPU}"),
        ([event("TRTKernel_graph_main_1_0", TENSORRT)], TENSORRT, ""),
        (
            [event("TRTKernel_graph_main_1_0", TENSORRT), event("Conv", CUDA)],
            TENSORRT,
            f"1 of 2 layers ran in {CUDA}",
        ),
        ([event("Conv", CUDA), event("Cast", CPU), event("Shape", CPU), event("Relu", CPU)], CUDA, ""),
        ([event("Conv", CUDA), event("Conv", CPU, suffix="_fence_before")], CUDA, ""),
        ([event("MemcpyFromHost", CUDA)], CUDA, "no layer was seen to run"),
        ([], CUDA, "no layer was seen to run"),
    ],
    ids=["all", "three", "fused", "int8", "tensorrt", "tensorrt-part", "casts", "fences", "copies", "nothing"],
)
def test_layers_that_ran_elsewhere_are_counted(
    tmp_path: Path, events: list[dict[str, Any]], provider: str, strays: str
) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps([SESSION, *events]), encoding="utf-8")
    assert find_strays(profile, provider) == strays


def test_layers_of_two_other_providers_are_told_apart(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    events = [event("TRTKernel_1", TENSORRT), event("Conv", CUDA), event("Conv", CPU), event("Gemm", CPU)]
    profile.write_text(json.dumps(events), encoding="utf-8")
    assert find_strays(profile, TENSORRT) == f"1 of 4 layers ran in {CUDA}, 2 of 4 layers ran in {CPU}"


@no_cuda
@pytest.mark.parametrize(("provider", "words"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_provider_that_is_not_built_in_is_one_line_with_the_extra(
    exported: Exported, provider: Any, words: str
) -> None:
    with pytest.raises(EngineError, match=f"onnxruntime has no {words}: it has .*{CPU}") as refused:
        OrtEngine(open_bundle(exported.fp32), provider=provider)
    assert "pip install 'export-ssl[gpu]'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_provider_that_is_unknown_is_refused_with_those_there_are(exported: Exported) -> None:
    with pytest.raises(UsageError, match="onnxruntime has no provider rocm here: expected one of cpu, cuda, tensorrt"):
        load_engine(exported.fp32, "onnxruntime", EngineOptions(provider="rocm"))


@no_cuda
def test_provider_in_the_options_goes_before_the_device(exported: Exported) -> None:
    with pytest.raises(EngineError, match=f"onnxruntime has no {TENSORRT}"):
        load_engine(exported.fp32, "onnxruntime", EngineOptions(provider="tensorrt", device="gpu"))
    with load_engine(exported.fp32, "onnxruntime", EngineOptions(provider="cpu", device="gpu")) as engine:
        assert engine.precision == "fp32"


@no_cuda
@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize(("provider", "wanted"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_session_that_falls_back_in_silence_is_an_error(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, provider: Any, wanted: str
) -> None:
    # onnxruntime then warns, and runs everything on the CPU.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    with pytest.raises(EngineError, match=f"onnxruntime fell back from {wanted} to {CPU}") as refused:
        OrtEngine(open_bundle(exported.fp32), provider=provider)
    assert "`run-ssl doctor`" in str(refused.value)


def test_layer_that_strays_is_an_error(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "runtime.engines.ort_engine.find_strays", lambda _profile, _provider: "3 of 21 layers ran in Another"
    )
    with pytest.raises(EngineError, match=f"fell back: 3 of 21 layers ran in Another although {CPU} was requested"):
        OrtEngine(open_bundle(exported.fp32))


@pytest.fixture
def planned(exported: Exported, tmp_path: Path) -> Path:
    """A bundle with a plan that no machine without TensorRT can open."""
    copy = copy_bundle(exported.fp32, tmp_path / "planned")
    put_plan(copy, plan_bytes())
    return copy


def test_auto_tells_of_a_plan_that_cannot_run_and_takes_the_cpus_engine(
    planned: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    (planned / "model.plan.json").unlink()
    with caplog.at_level(logging.WARNING, logger="export_ssl"), load_engine(planned) as engine:
        assert engine.name == "openvino"
        assert decibels(reference.logits, engine.infer(reference.pixels).logits) >= 99
    (record,) = [record for record in caplog.records if record.name == "export_ssl"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the bundle's TensorRT plan is not used: ")
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("error", [EngineError("no GPU"), BundleError("changed")], ids=["engine", "bundle"])
def test_auto_says_why_a_plan_is_not_used(
    planned: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("runtime.engines.trt.trt_engine.open_plan", refuse)
    with caplog.at_level(logging.WARNING, logger="export_ssl"), load_engine(planned, "auto") as engine:
        assert engine.name == "openvino"
    assert f"the bundle's TensorRT plan is not used: {error}" in caplog.text


def test_auto_without_a_plan_says_nothing(exported: Exported, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="export_ssl"), load_engine(exported.fp32):
        pass
    assert not caplog.records


def test_auto_in_a_precision_that_the_plan_lacks_is_the_engine_that_has_it(
    planned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with load_engine(planned, "auto", EngineOptions(precision="fp16")) as engine:
        assert engine.name == "openvino"
    assert "tensorrt computes in the bundle's precision, fp32, not fp16" in caplog.text


def test_tensorrt_by_name_refuses_another_precision(planned: Path) -> None:
    with pytest.raises(
        UsageError, match="tensorrt computes in the bundle's precision, fp32, not fp16: export that precision"
    ):
        load_engine(planned, "tensorrt", EngineOptions(precision="fp16"))


def test_tensorrt_by_name_never_falls_back(exported: Exported) -> None:
    with pytest.raises(BundleError, match=r"has no model\.plan: build one on this machine with `run-ssl build"):
        load_engine(exported.fp32, "tensorrt")


def test_tensorrt_is_runnable_where_it_is_installed_and_the_bundle_has_a_plan(
    exported: Exported, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"tensorrt", "openvino", "onnxruntime"}
    monkeypatch.setattr(runtime.engines.open_engine, "find_spec", lambda name: name if name in installed else None)
    assert runnable_engines(open_bundle(planned)) == ("tensorrt", "openvino", "onnxruntime")
    assert runnable_engines(open_bundle(exported.fp32)) == ("openvino", "onnxruntime")
    installed.discard("tensorrt")
    assert runnable_engines(open_bundle(planned)) == ("openvino", "onnxruntime")
