"""Peers compute what our engines compute, and what their programs print is read right."""

import re
import shlex
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bench.peers import names as peers
from runtime.bench.peers import programs as peer_programs
from runtime.bench.peers.libraries import PeerEngine
from runtime.bench.peers.names import LIBRARIES, PEERS, equivalent_commands, missing_peers, open_peer, run_program
from runtime.bench.peers.printed import parse_benchmark_app, parse_execution_graph, parse_trtexec
from runtime.bench.peers.programs import (
    benchmark_app_command,
    benchmark_app_precision,
    run_benchmark_app,
    run_trtexec,
    trtexec_timing_command,
)
from runtime.bench.subjects import Subject
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.manifest import TensorSpec
from runtime.bundle.plan_json import read_sidecar
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.errors import BundleError, EngineError, UsageError
from tests.conftest import Exported, Reference
from tests.helpers import program_logs
from tests.helpers.exported import copy_bundle, decibels
from tests.helpers.plans import put_plan
from tests.helpers.tools import lack

PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=("batch", 64, 64, 3), layout="NHWC", meaning="")
FLOATS = TensorSpec(name="input", dtype="float32", shape=("batch", 3, 64, 64), layout="NCHW", meaning="")
# As the engines' own tests: another order of the same float32 sums.
SAME_DB = 100.0
# bf16 has 8 significant bits, so each rounding is at about 6.02 * 9 + 1.8 = 56 dB; a network of 20 layers adds some.
BF16_DB = 25.0


@pytest.fixture(scope="module")
def bundle(exported: Exported) -> Bundle:
    return open_bundle(exported.fp32)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network of ten layers at 32 pixels whose input is float32."""
    from exporter.pipeline import export_bundle
    from exporter.request import ExportRequest, WeightsChoice

    path = tmp_path_factory.mktemp("tiny") / "bundle"
    weights = WeightsChoice(source="random", seed=0)
    export_bundle(ExportRequest(model="resnet10t", weights=weights, img_size=32, input_kind="float32", output=path))
    return open_bundle(path)


@pytest.fixture
def planned(exported: Exported, tmp_path: Path) -> Bundle:
    """A bundle with a file that stands for a plan of TensorRT 10.16, with a profile of 1:8:32."""
    folder = copy_bundle(exported.fp32, tmp_path / "planned")
    put_plan(folder)
    return open_bundle(folder)


def run_peer(peer: PeerEngine, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits and the embedding of a batch as NumPy arrays."""
    with peer:
        logits, embedding = (found for found in as_pair(peer.call(peer.network_input(pixels))))
    return as_array(logits), as_array(embedding)


def as_pair(outputs: Any) -> tuple[Any, Any]:
    return outputs[0], outputs[1]


def as_array(tensor: Any) -> np.ndarray:
    return np.array(tensor.float().numpy() if hasattr(tensor, "float") else tensor)


def subject_of(bundle: Bundle, engine: str, **changes: Any) -> Subject:
    values: dict[str, Any] = {"name": engine, "kind": "peer", "bundle": bundle.path, "engine": engine, "batch": 1}
    return Subject(**values | changes)


def fake_trtexec(folder: Path, log: str, *, status: int = 0) -> Path:
    """Write a program of that name that stores its arguments and prints a log."""
    folder.mkdir()
    program = folder / "trtexec"
    (folder / "log").write_text(log, encoding="utf-8")
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(folder / "arguments"))}\n'
        f"cat {shlex.quote(str(folder / 'log'))}\nexit {status}\n",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


# The libraries


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raw-onnxruntime", "raw-openvino", "pytorch-eager"])
def test_a_peer_gives_the_outputs_of_timm(bundle: Bundle, reference: Reference, name: str) -> None:
    logits, embedding = run_peer(open_peer(name, bundle), reference.pixels)
    assert decibels(reference.logits, logits) >= SAME_DB
    assert decibels(reference.embedding, embedding) >= SAME_DB


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_raw_engine_runs_what_our_engine_runs(
    exported: Exported, reference: Reference, engine: str, precision: str
) -> None:
    opened = open_bundle(getattr(exported, precision))
    with load_engine(opened, engine, EngineOptions(threads=1)) as ours:
        expected, what = np.array(ours.infer(reference.pixels).logits), ours.precision
    peer = open_peer(f"raw-{engine}", opened, threads=1)
    assert peer.precision == what
    # The same kernels on the same threads: the same bits.
    np.testing.assert_array_equal(run_peer(peer, reference.pixels)[0], expected)


@pytest.mark.slow
def test_autocast_is_bf16_and_near_float32(bundle: Bundle, reference: Reference) -> None:
    peer = open_peer("pytorch-eager:bf16", bundle)
    assert peer.precision == "bf16"
    with peer:
        logits, _ = peer.call(peer.network_input(reference.pixels))
    assert str(logits.dtype) == "torch.bfloat16"
    assert BF16_DB <= decibels(reference.logits, logits.float().numpy()) < SAME_DB


@pytest.mark.slow
def test_threads_are_taken(bundle: Bundle) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        with open_peer("pytorch-eager", bundle, threads=before + 1):
            assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raw-onnxruntime", "raw-openvino", "pytorch-eager"])
def test_a_float_input_is_normalised_for_a_peer(tiny: Bundle, name: str) -> None:
    golden = tiny.golden()
    assert decibels(golden.logits, run_peer(open_peer(name, tiny), golden.pixels)[0]) >= SAME_DB


@pytest.mark.slow
def test_a_compiled_network_gives_the_outputs_of_the_original(tiny: Bundle) -> None:
    if missing_peers(tiny)["pytorch-compile"]:
        lack("a C++ compiler or Python.h not found", "g++ python3-dev")
    golden = tiny.golden()
    logits, embedding = run_peer(open_peer("pytorch-compile", tiny), golden.pixels)
    assert decibels(golden.logits, logits) >= SAME_DB
    assert decibels(golden.embedding, embedding) >= SAME_DB


def test_a_peer_that_is_none_is_refused_with_the_names(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="named pytorch-eagre: expected one of pytorch-eager, "):
        open_peer("pytorch-eagre", bundle)


def test_a_program_cannot_be_opened(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="no peer that can be opened is named benchmark_app"):
        open_peer("benchmark_app", bundle)


# What is missing


def test_every_peer_has_an_answer(bundle: Bundle) -> None:
    missing = missing_peers(bundle)
    assert tuple(missing) == PEERS
    assert {name for name in LIBRARIES if not missing[name]} >= {"pytorch-eager", "raw-onnxruntime", "raw-openvino"}


def test_a_checkpoint_that_is_not_there_is_named(exported: Exported, tmp_path: Path) -> None:
    alone = open_bundle(copy_bundle(exported.fp32, tmp_path / "alone"))
    missing = missing_peers(alone)
    assert "drawn.safetensors is neither beside the bundle nor in the working directory" in missing["pytorch-eager"]
    assert missing["pytorch-compile:bf16"] == missing["pytorch-eager"]
    assert missing["raw-openvino"] == ""
    assert missing_peers(alone, weights=exported.checkpoint)["pytorch-eager"] == ""
    assert "does not exist" in missing_peers(alone, weights=tmp_path / "no.pth")["pytorch-eager"]


def test_headers_of_python_that_are_absent_are_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.setattr("sysconfig.get_path", lambda _name: "/nowhere")
    assert "/nowhere has no Python.h: apt-get install python3-dev" in missing_peers(bundle)["pytorch-compile"]


def test_no_compiler_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    missing = missing_peers(bundle)
    assert "no-such-compiler is not on PATH" in missing["pytorch-compile"]
    assert missing["pytorch-eager"] == ""


def test_packages_that_are_not_installed_are_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda _name: None)
    missing = missing_peers(bundle)
    assert missing["pytorch-eager"] == "torch and timm not installed: pip install 'export-ssl[export]'"
    assert missing["raw-onnxruntime"] == "onnxruntime not installed: pip install 'export-ssl[cpu]'"
    assert missing["raw-openvino"] == "openvino not installed: pip install 'export-ssl[cpu]'"


def test_on_a_gpu_the_cpu_s_peers_are_left_out(bundle: Bundle) -> None:
    missing = missing_peers(bundle, device="gpu")
    for name in ("raw-onnxruntime", "raw-openvino", "benchmark_app"):
        assert "CPU" in missing[name]
    assert missing["pytorch-eager:fp16"] == ""


def test_trtexec_and_a_plan_are_both_needed(
    bundle: Bundle, planned: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "neither beside this Python nor on PATH" in missing_peers(planned)["trtexec"]
    monkeypatch.setenv("PATH", str(fake_trtexec(tmp_path / "bin", "").parent))
    assert missing_peers(planned)["trtexec"] == ""
    assert f"run-ssl build {bundle.path}" in missing_peers(bundle)["trtexec"]


# benchmark_app


def test_milliseconds_are_read_and_their_steps_are_said() -> None:
    times = parse_benchmark_app(program_logs.BENCHMARK_APP_MS, command="benchmark_app -m model.onnx")
    assert (times.runs, times.threads) == (492, 2)
    assert (times.median_ms, times.mean_ms, times.min_ms, times.max_ms) == (1.0, 1.99, 0.49, 9.32)
    assert times.load_ms == pytest.approx(78.35 + 171.29)
    assert times.first_ms == 87.66
    assert times.p99_ms is None
    assert times.notes == ("benchmark_app prints its times in steps of 0.01 ms",)


def test_microseconds_are_read_as_milliseconds() -> None:
    times = parse_benchmark_app(program_logs.BENCHMARK_APP_US, command="")
    assert times.median_ms == pytest.approx(0.32177)
    assert times.mean_ms == pytest.approx(0.72739)
    assert times.max_ms == pytest.approx(6.05718)
    assert (times.runs, times.threads, times.notes) == (1335, 1, ())


def test_other_streams_than_ours_are_said() -> None:
    text = program_logs.BENCHMARK_APP_US.replace("NUM_STREAMS: 1", "NUM_STREAMS: 2")
    assert parse_benchmark_app(text, command="").notes == (
        "benchmark_app's latency hint chose 2 streams, the engine here has 1",
    )


@pytest.mark.parametrize("line", ["Count:", "Median:", "Max:"])
def test_a_summary_without_a_number_is_refused(line: str) -> None:
    text = "\n".join(one for one in program_logs.BENCHMARK_APP_MS.splitlines() if line not in one)
    with pytest.raises(EngineError, match="benchmark_app printed no summary"):
        parse_benchmark_app(text, command="")


def test_most_layers_of_the_execution_graph_decide() -> None:
    assert parse_execution_graph(program_logs.EXECUTION_GRAPH) == "int8"
    assert parse_execution_graph("<net/>") == "unknown"


def test_command_takes_the_latency_hint_or_threads_and_not_both() -> None:
    start = "benchmark_app -m b/model.onnx -d CPU -api sync -inference_only"
    free = benchmark_app_command(Path("b"), PIXELS, batch=1, threads=None, seconds=3)
    assert shlex.join(free) == f"{start} -hint latency -infer_precision f32 -data_shape 'pixels[1,64,64,3]' -t 3"
    bound = benchmark_app_command(Path("b"), FLOATS, batch=8, threads=2, seconds=0.2, precision="bf16")
    assert shlex.join(bound) == (
        f"{start} -hint none -nstreams 1 -nthreads 2 -infer_precision bf16 -data_shape 'input[8,3,64,64]' -t 1"
    )


@pytest.mark.slow
@pytest.mark.parametrize("threads", [None, 1])
def test_benchmark_app_runs_with_our_engine_s_settings(bundle: Bundle, threads: int | None) -> None:
    times = run_benchmark_app(bundle, batch=2, threads=threads, seconds=1)
    assert times.runs >= 1
    assert 0 < times.min_ms <= times.median_ms <= times.max_ms
    assert times.load_ms is not None
    assert times.load_ms > 0
    if threads is not None:
        assert times.threads == threads
    assert not any("streams" in note for note in times.notes)


@pytest.mark.slow
def test_benchmark_app_executes_what_our_engine_executes(exported: Exported) -> None:
    opened = open_bundle(exported.fp16)
    with load_engine(opened, "openvino") as ours:
        assert benchmark_app_precision(opened) == ours.precision


def test_what_benchmark_app_refuses_is_said_in_its_words(exported: Exported, tmp_path: Path) -> None:
    broken = open_bundle(copy_bundle(exported.fp32, tmp_path / "broken", files={"model.onnx": b"nothing"}))
    with pytest.raises(EngineError, match=r"^benchmark_app exited with 1 \(.+\): run `benchmark_app .+` to see all"):
        run_benchmark_app(broken, batch=1, threads=None, seconds=1)


def test_a_program_that_is_absent_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_programs, "find_program", lambda _name: None)
    with pytest.raises(EngineError, match="benchmark_app is neither beside this Python nor on PATH: pip install"):
        run_benchmark_app(bundle, batch=1, threads=None, seconds=1)


@pytest.mark.slow
def test_benchmark_app_is_measured_in_processes(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    medians = [3.0, 1.0, 2.0, 4.0, 6.0, 5.0]
    logs = iter([program_logs.BENCHMARK_APP_MS.replace("1.00 ms", f"{one:.2f} ms") for one in medians])
    monkeypatch.setattr(peer_programs, "_run", lambda *_args, **_kw: next(logs))
    monkeypatch.setattr(peers, "benchmark_app_precision", lambda _bundle: "fp32")
    found = run_program(subject_of(bundle, "benchmark_app", batch=4), bundle, seed=0)
    assert found.rounds_ms == tuple((one,) for one in medians)
    assert found.latency.median_ms == 3.5
    assert 1 <= found.latency.median_ci95.low <= 3.5 <= found.latency.median_ci95.high <= 6
    assert found.latency.mean_ms == pytest.approx(1.99)
    assert (found.latency.runs, found.latency.min_ms, found.latency.max_ms) == (6 * 492, 0.49, 9.32)
    assert found.images_per_s == pytest.approx(4e3 / 1.99)
    assert (found.load_ms, found.first_ms) == (pytest.approx(78.35 + 171.29), 87.66)
    assert (found.kind, found.engine, found.precision, found.scope) == ("peer", "benchmark_app", "fp32", "model")
    assert "6 processes of 1 s" in found.notes[0]
    assert found.notes[1:] == ("benchmark_app prints its times in steps of 0.01 ms",)


def test_a_program_that_is_none_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="no program is named perf: expected benchmark_app or trtexec"):
        run_program(subject_of(bundle, "perf"), bundle, seed=0)


# trtexec


def test_trtexec_s_kernel_times_are_read_and_not_those_with_copies() -> None:
    times = parse_trtexec(program_logs.TRTEXEC_10, command="trtexec")
    assert (times.runs, times.median_ms, times.mean_ms) == (2077, 1.39775, 1.44357)
    assert (times.min_ms, times.max_ms) == (1.38855, 3.00439)
    assert (times.p90_ms, times.p95_ms, times.p99_ms) == (1.40308, 1.67834, 2.57642)
    assert times.notes == (
        "trtexec of TensorRT 10.9.0",
        "trtexec warns: GPU compute time is unstable, with coefficient of variance = 13.1794%.",
    )


def test_trtexec_11_is_read_the_same() -> None:
    times = parse_trtexec(program_logs.TRTEXEC_11, command="trtexec")
    assert (times.runs, times.median_ms, times.p99_ms) == (16021, 0.187378, 0.208984)
    assert times.notes == ("trtexec of TensorRT 11.1.0",)


def test_a_log_without_a_summary_is_refused() -> None:
    with pytest.raises(EngineError, match="trtexec printed no summary that this version reads"):
        parse_trtexec(program_logs.TRTEXEC_FAILED, command="trtexec")


def test_trtexec_times_the_bundle_s_plan(planned: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_trtexec(tmp_path / "bin", program_logs.TRTEXEC_10)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    found = run_program(subject_of(planned, "trtexec", batch=8), planned, seed=0, seconds=2)
    assert (program.parent / "arguments").read_text().splitlines() == [
        f"--loadEngine={planned.path}/model.plan",
        "--shapes=pixels:8x64x64x3",
        "--useCudaGraph",
        "--useSpinWait",
        "--noDataTransfers",
        "--warmUp=200",
        "--duration=2",
    ]
    assert found.latency.median_ms == 1.39775
    assert found.latency.p99_ms == 2.57642
    assert found.precision == "fp32"
    assert (found.load_ms, found.first_ms) == (None, None)


def test_trtexec_s_own_error_is_said(planned: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_trtexec(tmp_path / "bin", program_logs.TRTEXEC_FAILED, status=1)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(
        EngineError, match=r"^trtexec exited with 1 \(Error\[1\]: .+ Error Code 1: Serialization\): run"
    ):
        run_trtexec(planned, batch=1, seconds=1)


def test_a_batch_outside_the_plan_s_profile_is_refused(planned: Bundle) -> None:
    with pytest.raises(UsageError, match="batch 64 is outside the plan's profile 1:8:32"):
        run_trtexec(planned, batch=64, seconds=1)


def test_a_bundle_without_a_plan_is_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError):
        run_trtexec(bundle, batch=1, seconds=1)


# Equivalent command lines


def test_openvino_s_equivalent_is_benchmark_app(bundle: Bundle) -> None:
    command = benchmark_app_command(bundle.path, PIXELS, batch=2, threads=None, seconds=3, precision="bf16")
    assert equivalent_commands(subject_of(bundle, "openvino:bf16", batch=2)) == (shlex.join(command),)
    (found,) = equivalent_commands(subject_of(bundle, "raw-openvino", threads=1))
    assert "-hint none -nstreams 1 -nthreads 1 -infer_precision f32" in found


def test_tensorrt_s_equivalent_builds_the_plan_and_times_it(planned: Bundle) -> None:
    build, timing = equivalent_commands(subject_of(planned, "tensorrt", batch=4))
    assert "--optShapes=pixels:8x64x64x3" in build
    assert "--stronglyTyped" in build
    assert timing == (
        f"trtexec --loadEngine={planned.path}/model.plan --shapes=pixels:4x64x64x3 --useCudaGraph --useSpinWait "
        "--noDataTransfers --warmUp=200 --duration=3"
    )


def test_no_program_is_told_a_shape_of_a_graph_whose_batch_is_fixed(planned: Bundle) -> None:
    fixed = PIXELS.model_copy(update={"shape": (2, 64, 64, 3)})
    app = benchmark_app_command(planned.path, fixed, batch=2, threads=None, seconds=3)
    trtexec = trtexec_timing_command(planned.path, fixed, read_sidecar(planned.path), batch=2, seconds=3)
    # The folder's name may have such a number too.
    words = [word.replace(str(planned.path), "") for word in (*app, *trtexec)]
    assert not [word for word in words if "shape" in word or "64" in word]
    assert f"--loadEngine={planned.path}/model.plan" in trtexec


def test_trtexec_11_needs_no_word_for_its_defaults(planned: Bundle) -> None:
    put_plan(planned.path, tensorrt="11.4.0.1", version_compatible=True)
    timing = equivalent_commands(subject_of(planned, "tensorrt"))[1]
    assert re.sub(r"\S+model.plan", "P", timing) == (
        "trtexec P --shapes=pixels:1x64x64x3 --versionCompatible --warmUp=200 --duration=3"
    )


@pytest.mark.parametrize("engine", ["onnxruntime", "raw-onnxruntime", "pytorch-eager:bf16", "pytorch"])
def test_other_engines_have_no_equivalent(bundle: Bundle, engine: str) -> None:
    assert equivalent_commands(subject_of(bundle, engine)) == ()


def test_a_measurement_from_files_has_no_equivalent(bundle: Bundle) -> None:
    assert equivalent_commands(subject_of(bundle, "openvino", scope="end-to-end")) == ()


def test_benchmark_app_is_beside_this_python() -> None:
    found = peer_programs.find_program("benchmark_app")
    assert found is not None
    assert found.parent == Path(sys.executable).parent or shutil.which("benchmark_app") == str(found)
