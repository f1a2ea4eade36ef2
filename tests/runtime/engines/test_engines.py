import importlib.util
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import onnx_ir as ir
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file

import runtime.engines.open_engine
from calibration.graph.checks import infer_shapes
from exporter.passes.fp16 import convert_to_fp16
from exporter.passes.ranges import Range, measure_ranges
from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import EngineOptions, installed_engines, load_engine, parse_engine
from runtime.engines.openvino_package import import_openvino
from runtime.engines.ort_session import import_onnxruntime
from runtime.errors import CheckpointError, EngineError, UsageError
from tests.conftest import IMAGE_SIZE
from tests.helpers.bundles import SIZE as HAND_MADE_SIZE
from tests.helpers.bundles import write_hand_made
from tests.helpers.exported import copy_bundle, decibels
from tests.helpers.graphs import evaluate, make_model
from tests.helpers.paths import ROOT

GRAPH_ENGINES = ("onnxruntime", "openvino")
ENGINES = (*GRAPH_ENGINES, "pytorch")
THREADS, CALLS = 8, 64
# FP16 in another order has noise of the same power; 3 dB is a factor of two.
FP16_MARGIN_DB = 3.0
# The floor for an FP16 graph.
FP16_FLOOR_DB = 50.0
# bfloat16 keeps 8 bits: half the last one is 2^-9 of a value, 54 dB, less what twenty layers add.
BF16_FLOOR_DB = 30.0


def cpu_has(capability):
    return capability in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module", params=ENGINES)
def fp32_engine(request, exported):
    """One opened engine of each kind on the FP32 bundle, for the tests that only run it."""
    with load_engine(exported.fp32, request.param) as engine:
        yield engine


@pytest.mark.parametrize("name", ENGINES)
def test_fp32_gives_pytorchs_logits_and_embedding(exported, reference, name):
    bundle = open_bundle(exported.fp32)
    with load_engine(bundle, name) as engine:
        logits, embedding = engine.infer(reference.pixels)
        assert (engine.name, engine.precision) == (name, "fp32")
        assert (logits.dtype, embedding.dtype) == (np.float32, np.float32)
        assert decibels(reference.logits, logits) >= bundle.manifest.precision.min_sqnr_db
        assert decibels(reference.embedding, embedding) >= bundle.manifest.precision.min_sqnr_db
        np.testing.assert_array_equal(logits.argmax(axis=1), reference.logits.argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_network_without_a_classifier_gives_pytorchs_embedding_and_no_logits(backbone, reference, name):
    bundle = open_bundle(backbone.fp32)
    with load_engine(bundle, name) as engine:
        logits, embedding = engine.infer(reference.pixels)
        assert (logits.shape, logits.dtype) == ((len(reference.pixels), 0), np.float32)
        assert decibels(reference.embedding, embedding) >= bundle.manifest.precision.min_sqnr_db


@pytest.mark.parametrize("name", GRAPH_ENGINES)
def test_fp16_is_as_near_as_pytorchs_own_fp16(exported, reference, name):
    least = max(decibels(reference.logits, reference.fp16_logits) - FP16_MARGIN_DB, FP16_FLOOR_DB)
    with load_engine(exported.fp16, name) as engine:
        logits, embedding = engine.infer(reference.pixels)
        assert decibels(reference.logits, logits) >= least
        assert decibels(reference.embedding, embedding) >= FP16_FLOOR_DB
        np.testing.assert_array_equal(logits.argmax(axis=1), reference.logits.argmax(axis=1))


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_an_image_gives_the_same_in_any_batch(exported, fp32_engine, reference, batch):
    required_db = open_bundle(exported.fp32).manifest.precision.min_sqnr_db
    logits = fp32_engine.infer(reference.pixels[:batch]).logits
    assert logits.shape == (batch, 1000)
    assert decibels(reference.logits[:batch], logits) >= required_db


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[:, :32],
        lambda pixels: pixels.transpose(0, 3, 1, 2),
        lambda pixels: pixels[0],
        lambda pixels: pixels[:0],
        lambda pixels: pixels.astype(np.float32),
    ],
    ids=["size", "layout", "one-image", "empty", "dtype"],
)
def test_pixels_of_another_shape_or_type_are_refused(fp32_engine, reference, change):
    with pytest.raises(EngineError, match=r"expected \(N, 64, 64, 3\) uint8 with N >= 1") as refused:
        fp32_engine.infer(change(reference.pixels))
    assert "\n" not in str(refused.value)
    assert fp32_engine.infer(reference.pixels[:1]).logits.shape == (1, 1000)


@pytest.mark.parametrize("pixels", [[], [[[0]]], None, "image.png"])
def test_what_is_no_array_is_refused_in_one_line(fp32_engine, pixels):
    with pytest.raises(
        EngineError, match=r"^pixels are a (list|NoneType|str), expected a NumPy array \(N, 64, 64, 3\)"
    ):
        fp32_engine.infer(pixels)


def test_flipped_and_read_only_pixels_are_taken_as_they_are(fp32_engine, reference):
    flipped = reference.pixels[:2, :, ::-1]
    locked = flipped.copy()
    locked.flags.writeable = False
    expected = fp32_engine.infer(flipped.copy()).logits.copy()
    np.testing.assert_array_equal(fp32_engine.infer(flipped).logits, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(fp32_engine.infer(locked).logits, expected)


def in_eight_threads(engine, batches):
    """Return what each batch gives where eight threads call one engine, all of them at once from the start."""
    barrier = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS, initializer=barrier.wait) as pool:
        return list(pool.map(engine.infer, batches))


def batches_of(pixels):
    """Return 64 batches of one to three images, no two neighbours alike: a mix-up of calls shows."""
    return [np.roll(pixels, shift, axis=0)[: 1 + shift % 3] for shift in range(CALLS)]


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "fp32") for name in GRAPH_ENGINES),
        ("openvino", "bf16"),
        *(pytest.param("pytorch", precision, marks=pytest.mark.slow) for precision in ("fp32", "bf16")),
    ],
)
def test_eight_threads_get_what_one_gets_to_the_bit(exported, reference, name, precision):
    batches = batches_of(reference.pixels)
    with load_engine(exported.fp32, name, EngineOptions(precision=precision)) as engine:
        serial = [engine.infer(batch) for batch in batches]
        found = in_eight_threads(engine, batches)
    for expected, outputs in zip(serial, found, strict=True):
        np.testing.assert_array_equal(outputs.logits, expected.logits)
        np.testing.assert_array_equal(outputs.embedding, expected.embedding)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPH_ENGINES)
@pytest.mark.parametrize("kind", ["fp16", "int8", "int8-fp16"])
def test_eight_threads_get_what_one_gets_in_every_precision(exported, quantized, reference, name, kind):
    path = {"fp16": exported.fp16, "int8": quantized.cpu, "int8-fp16": quantized.tensorrt}[kind]
    batches = batches_of(reference.pixels)
    with load_engine(path, name) as engine:
        serial = [engine.infer(batch) for batch in batches]
        found = in_eight_threads(engine, batches)
    for expected, outputs in zip(serial, found, strict=True):
        np.testing.assert_array_equal(outputs.logits, expected.logits)
        np.testing.assert_array_equal(outputs.embedding, expected.embedding)


def test_outputs_stay_what_they_were_when_the_engine_goes_on(fp32_engine, reference):
    first = fp32_engine.infer(reference.pixels[:2])
    kept = [array.copy() for array in first]
    fp32_engine.infer(reference.pixels[2:4])
    for array, copied in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copied)


@pytest.mark.parametrize("name", ENGINES)
def test_engine_that_is_closed_while_threads_call_it_answers_or_says_so(exported, reference, name):
    engine = load_engine(exported.fp32, name)
    expected = engine.infer(reference.pixels[:1]).logits.copy()
    with ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(engine.infer, reference.pixels[:1]) for _ in range(CALLS)]
        calls[0].result()
        engine.close()
    for call in calls:
        if call.exception() is None:
            np.testing.assert_array_equal(call.result().logits, expected)
        else:
            assert isinstance(call.exception(), EngineError)


@pytest.mark.parametrize("name", ENGINES)
def test_closed_engine_says_so(exported, reference, name):
    with load_engine(exported.fp32, name) as engine:
        engine.infer(reference.pixels[:1])
    engine.close()
    with pytest.raises(EngineError, match="engine is closed: open it again with load_engine"):
        engine.infer(reference.pixels[:1])


def test_engine_is_closed_when_its_block_fails(exported, reference):
    engine = load_engine(exported.fp32, "onnxruntime")
    with pytest.raises(ZeroDivisionError), engine:
        raise ZeroDivisionError
    with pytest.raises(EngineError, match="closed"):
        engine.infer(reference.pixels)


def test_onnxruntime_says_in_which_type_it_stores_and_computes(exported):
    with load_engine(exported.fp16, "onnxruntime") as engine:
        # x86 has no FP16 convolution in onnxruntime; some ARM CPUs have.
        assert engine.precision in ("fp16 weights, fp32 execution", "fp16")


def test_openvino_says_that_it_executes_fp16_weights_in_fp32(exported):
    with load_engine(exported.fp16, "openvino") as engine:
        assert engine.precision == "fp16 weights, fp32 execution"


def test_openvino_executes_bf16_only_on_request_and_only_where_the_cpu_has_it(exported, reference):
    expected = "fp32 weights, bf16 execution" if cpu_has("BF16") else "fp32"
    with load_engine(exported.fp32, "openvino", EngineOptions(precision="bf16")) as engine:
        assert engine.precision == expected
        assert decibels(reference.logits, engine.infer(reference.pixels).logits) >= BF16_FLOOR_DB


@pytest.mark.parametrize(("precision", "least"), [("fp16", FP16_FLOOR_DB), ("bf16", BF16_FLOOR_DB)])
def test_pytorch_runs_the_original_in_reduced_precision(exported, reference, precision, least):
    with load_engine(exported.fp32, "pytorch", EngineOptions(precision=precision)) as engine:
        assert engine.precision == precision
        logits = engine.infer(reference.pixels).logits
    assert logits.dtype == np.float32
    # Another precision really ran: float32 is above 100 dB.
    assert least <= decibels(reference.logits, logits) < 90


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_onnxruntime_refuses_a_precision_that_is_not_in_the_graph(exported, precision):
    with pytest.raises(UsageError, match=f"onnxruntime computes in the bundle's precision, fp32, not {precision}"):
        load_engine(exported.fp32, "onnxruntime", EngineOptions(precision=precision))


def test_onnxruntime_takes_the_graphs_own_precision_by_name(exported):
    with load_engine(exported.fp32, "onnxruntime", EngineOptions(precision="fp32")) as engine:
        assert engine.precision == "fp32"


@pytest.mark.parametrize("name", GRAPH_ENGINES)
def test_threads_and_sharing_change_no_result_beyond_rounding(exported, reference, name):
    bundle = open_bundle(exported.fp32)
    with load_engine(bundle, name, EngineOptions(threads=1, share_cores=True)) as engine:
        logits = engine.infer(reference.pixels).logits
    assert decibels(reference.logits, logits) >= bundle.manifest.precision.min_sqnr_db


def test_unknown_engine_is_refused_with_the_known_names(exported):
    with pytest.raises(
        UsageError,
        match=r"no engine is named tensorflow: expected auto, tensorrt, tensorrt-rtx, openvino, "
        r"onnxruntime, pytorch",
    ):
        load_engine(exported.fp32, "tensorflow")


def test_engine_and_precision_are_parsed_from_one_word():
    assert parse_engine("openvino") == ("openvino", None, None, None)
    assert parse_engine("openvino:bf16") == ("openvino", "bf16", None, None)
    with pytest.raises(UsageError, match="engine openvino:int3: no precision int3; expected"):
        parse_engine("openvino:int3")


def hide(monkeypatch, *packages):
    """Let packages look uninstalled."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        runtime.engines.open_engine, "find_spec", lambda name: None if name in packages else find_spec(name)
    )


def test_auto_is_openvino_where_it_is_installed_else_onnxruntime(exported, monkeypatch):
    with load_engine(exported.fp32) as engine:
        assert engine.name == "openvino"
    hide(monkeypatch, "openvino")
    assert installed_engines() == ("onnxruntime",)
    with load_engine(str(exported.fp32), "auto") as engine:
        assert engine.name == "onnxruntime"


def test_auto_without_any_engine_names_the_extras(exported, monkeypatch):
    hide(monkeypatch, "openvino", "onnxruntime")
    with pytest.raises(EngineError, match=r"no engine is installed: pip install 'export-ssl\[cpu\]'"):
        load_engine(exported.fp32)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("onnxruntime", "onnxruntime", "cpu"),
        ("openvino", "openvino", "cpu"),
        ("pytorch", "torch", "export"),
        ("pytorch", "timm", "export"),
    ],
)
def test_missing_package_is_one_line_with_the_extra_that_has_it(exported, monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match=rf"pip install 'export-ssl\[{extra}\]'"):
        load_engine(exported.fp32, name)


def test_both_onnxruntimes_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda _name: "1.20")
    with pytest.raises(
        EngineError, match="onnxruntime and onnxruntime-gpu are both installed and overwrite each other"
    ):
        import_onnxruntime()


@pytest.mark.parametrize("wanted", [{}, {"ORT_DISABLE_TELEMETRY": "0"}], ids=["unless", "asked"])
def test_onnxruntime_gathers_nothing_unless_it_is_asked_to(tmp_path, wanted):
    # In continuous integration it gathers nothing by itself.
    silent = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS")
    inherited = {name: value for name, value in os.environ.items() if name not in silent}
    code = "from runtime.engines.ort_session import import_onnxruntime; import_onnxruntime()"
    environment = {**inherited, "TMPDIR": str(tmp_path), **wanted}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    # The identity that its telemetry keeps.
    written = [file.name for file in tmp_path.iterdir()]
    if wanted and not written:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} gathers nothing")
    assert written == ([".ses"] if wanted else [])


# Starts a process as OpenVINO's statistics do, and says what they would have sent.
_OPENVINO_SENDS = """
import openvino_telemetry.backend.backend_ga4 as backend
backend.GA4Backend.send = lambda _self, message: print("sent", flush=True)
"""


@pytest.mark.parametrize("imported", [False, True], ids=["unless", "imported before"])
def test_openvino_sends_nothing_unless_its_statistics_were_imported_before(tmp_path, imported):
    # In continuous integration it sends nothing by itself.
    silent = ("CI", "TF_BUILD", "JENKINS_URL")
    inherited = {name: value for name, value in os.environ.items() if name not in silent}
    code = _OPENVINO_SENDS if imported else ""
    code += "from runtime.engines.openvino_package import import_openvino; import_openvino()"
    environment = {**inherited, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    # The identity that they keep.
    written = [file.name for file in tmp_path.iterdir()]
    if imported and not done.stdout:
        pytest.skip(f"OpenVINO {openvino.__version__} sends nothing")
    assert (done.stdout.split(), written) == ((["sent"], ["intel"]) if imported else ([], []))


def test_openvinos_statistics_stay_importable(monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    assert import_openvino() is openvino
    assert "openvino_telemetry" not in sys.modules


def test_one_onnxruntime_of_either_name_is_fine(monkeypatch):
    def version(name):
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return "1.20"

    monkeypatch.setattr(metadata, "version", version)
    assert import_onnxruntime() is onnxruntime


@pytest.mark.parametrize(
    ("name", "available", "reason"),
    [
        ("onnxruntime", lambda: "CUDAExecutionProvider" in onnxruntime.get_available_providers(), "has no CUDA"),
        ("openvino", lambda: any("GPU" in device for device in openvino.Core().available_devices), "cannot compile"),
        ("pytorch", torch.cuda.is_available, "cannot use device cuda"),
    ],
)
def test_gpu_that_is_not_there_is_one_line(exported, name, available, reason):
    if available():
        pytest.skip(f"{name} has a GPU here")
    with pytest.raises(EngineError, match=reason) as refused:
        load_engine(exported.fp32, name, EngineOptions(device="gpu"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "reason"), [("onnxruntime", "cannot load"), ("openvino", "cannot compile")])
def test_file_that_is_no_graph_is_one_line(tmp_path, name, reason):
    bundle = write_hand_made(tmp_path / "bundle")
    assert HAND_MADE_SIZE == 8
    with pytest.raises(EngineError, match=rf"{reason} .*model\.onnx: ") as refused:
        load_engine(bundle, name)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_float_input_bundle_takes_the_same_pixels_and_gives_the_same(exported, float_input, reference):
    manifest = open_bundle(float_input).manifest
    assert (manifest.input.name, manifest.input.dtype, manifest.input.layout) == ("input", "float32", "NCHW")
    assert manifest.input.shape == ("batch", 3, IMAGE_SIZE, IMAGE_SIZE)
    for name in (*GRAPH_ENGINES, "pytorch"):
        options = EngineOptions(weights=exported.checkpoint) if name == "pytorch" else None
        with load_engine(float_input, name, options) as engine:
            logits, embedding = engine.infer(reference.pixels)
            assert decibels(reference.logits, logits) >= manifest.precision.min_sqnr_db
            assert decibels(reference.embedding, embedding) >= manifest.precision.min_sqnr_db
            with pytest.raises(EngineError, match=r"expected \(N, 64, 64, 3\) uint8"):
                engine.infer(reference.pixels.astype(np.float32))


def test_pytorch_finds_the_checkpoint_beside_the_bundle_or_in_the_working_directory(exported, tmp_path, monkeypatch):
    with load_engine(exported.fp32, "pytorch") as engine:
        assert engine.precision == "fp32"
    alone = copy_bundle(exported.fp32, tmp_path / "elsewhere" / "bundle")
    with pytest.raises(CheckpointError, match=r"drawn\.safetensors, which is neither beside it .* --weights FILE"):
        load_engine(alone, "pytorch")
    monkeypatch.chdir(exported.checkpoint.parent)
    with load_engine(alone, "pytorch") as engine:
        assert engine.precision == "fp32"


def test_pytorch_refuses_another_checkpoint(exported, tmp_path):
    state = load_file(exported.checkpoint)
    state["fc.bias"][7] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"other\.safetensors: its tensors have sha256 .* --weights FILE"):
        load_engine(exported.fp32, "pytorch", EngineOptions(weights=tmp_path / "other.safetensors"))


def test_pytorch_takes_the_same_weights_from_a_file_of_another_kind(exported, reference, tmp_path):
    torch.save(load_file(exported.checkpoint), tmp_path / "same.pth")
    with load_engine(exported.fp32, "pytorch", EngineOptions(weights=tmp_path / "same.pth")) as engine:
        logits = engine.infer(reference.pixels).logits
    assert decibels(reference.logits, logits) >= 99


def overflowing_model():
    """Return conv, relu, conv whose first activations are near 10^6, and whose outputs are near one."""
    rng = np.random.default_rng(0)
    return make_model(
        [
            helper.make_node("Conv", ["x", "w1"], ["c1"], name="conv1"),
            helper.make_node("Relu", ["c1"], ["r1"], name="act1"),
            helper.make_node("Conv", ["r1", "w2"], ["y"], name="conv2"),
        ],
        {
            "w1": np.abs(rng.normal(size=(4, 3, 1, 1)) * 4e3).astype(np.float32),
            "w2": (rng.normal(size=(2, 4, 1, 1)) * 1e-3).astype(np.float32),
        },
        input_shape=("n", 3, 8, 8),
        outputs={"y": ("n", 2, 8, 8)},
    )


def run_onnxruntime(model, feed):
    """Return every FP16 tensor of the graph and its output, by name."""
    proto = ir.to_proto(infer_shapes(model))
    narrow = [value for value in proto.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16]
    proto.graph.output.extend(narrow)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": feed}), strict=True))


def test_tensors_that_overflow_in_fp16_are_infinite_in_onnxruntime_and_those_kept_in_fp32_are_not(reference):
    feed = reference.pixels[:2, :8, :8].transpose(0, 3, 1, 2).astype(np.float32)
    model = overflowing_model()
    blind, seeing = ir.from_proto(model), ir.from_proto(model)
    ranges = measure_ranges(model, feed)
    convert_to_fp16(blind, {name: Range(0.0, 1.0) for name in ranges})
    assert np.isinf(run_onnxruntime(blind, feed)["c1"]).any()
    report = convert_to_fp16(seeing, ranges)
    assert report.fp32_layers == ("conv1", "act1", "conv2")
    found = run_onnxruntime(seeing, feed)
    assert all(np.isfinite(array).all() for array in found.values())
    # Weights and input are rounded to FP16 once each, at worst half a unit of 2^-10.
    assert decibels(evaluate(model, feed)[0], found["y"]) >= FP16_FLOOR_DB


# Each process has one first call. Threads take turns after every few instructions, so that eight of them meet in it.
_FIRST_CALLS = """
import os, sys, threading
import numpy as np
from runtime import EngineOptions, load_engine

engine = load_engine(sys.argv[1], "openvino", EngineOptions(threads=1, share_cores=True))
pixels = np.zeros((1, *engine.manifest.preprocessing.pixels_shape), np.uint8)
together = threading.Barrier(8)

def call():
    together.wait()
    engine.infer(pixels)

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
os._exit(any(thread.is_alive() for thread in threads))
"""


@pytest.mark.parametrize("process", range(3))
def test_the_first_calls_of_a_process_may_come_from_eight_threads_at_once(exported, process):
    command = [sys.executable, "-c", _FIRST_CALLS, str(exported.fp32)]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0, process
