"""The C library's onnxruntime back end on real bundles, with the library of Python's package."""

import functools
import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.health.verify import verify_bundle
from tests.conftest import IMAGE_SIZE, crops
from tests.helpers.cpp.build import BUILDS, SOURCE, locked, run
from tests.helpers.cpp.library import Backend, Engine, LibraryError, Status, load, make_buffers
from tests.helpers.cpp.onnxruntime import (
    HEADER,
    STANDIN,
    build_with_onnxruntime,
    onnxruntimes_header,
    runtime_library,
)
from tests.helpers.exported import copy_bundle
from tests.helpers.tools import require_flags

# The same library runs the same graph; what differs is the order of sums with another number of threads.
ROUNDINGS = 1e-5
# Two figures of one comparison; a decibel of 130 or so is made of the last bits of float32.
SAME_DECIBELS = 0.5
BUNDLES = ["fp32", "fp16", "int8", "int8-fp16", "float32_input"]
SANITIZERS = "address,undefined,float-cast-overflow"
# The functions of onnxruntime's table that the back end calls.
FUNCTIONS = (
    "GetErrorMessage", "CreateEnv", "CreateSessionFromArray", "Run", "CreateSessionOptions", "EnableProfiling",
    "SetIntraOpNumThreads", "CreateTensorWithDataAsOrtValue", "CreateCpuMemoryInfo", "AllocatorFree",
    "GetAllocatorWithDefaultOptions", "ReleaseEnv", "ReleaseStatus", "ReleaseMemoryInfo", "ReleaseSession",
    "ReleaseValue", "ReleaseSessionOptions", "SessionEndProfiling", "AddSessionConfigEntry",
    "DisableTelemetryEvents",
)  # fmt: skip
CONSTANTS = (
    "ORT_LOGGING_LEVEL_FATAL", "ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT", "ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8",
    "OrtArenaAllocator", "OrtMemTypeDefault",
)  # fmt: skip
# A library that no header fits.
TOO_OLD = """struct base { const void *(*get)(unsigned); const char *(*version)(void); };
static const void *get(unsigned version) { (void)version; return 0; }
static const char *version(void) { return "1.2.3"; }
static const struct base api = {get, version};
const struct base *OrtGetApiBase(void) { return &api; }
"""


@functools.cache
def library():
    return load(build_with_onnxruntime("onnxruntime") / "lib/libresnet_engine.so")


def open_engine(bundle, **changes):
    named = {"onnxruntime_library": bytes(runtime_library()), **changes}
    return Engine(bundle, library=library(), **named)


@pytest.fixture(scope="module")
def bundles(exported, quantized, float_input):
    """Bundles of the same network by name."""
    return {
        "fp32": exported.fp32,
        "fp16": exported.fp16,
        "int8": quantized.cpu,
        "int8-fp16": quantized.tensorrt,
        "float32_input": float_input,
    }


@pytest.fixture(scope="module")
def pixels():
    return np.stack([np.asarray(picture.resize((IMAGE_SIZE, IMAGE_SIZE))) for picture in crops()[:8]])


def nearest(found, expected):
    """The largest difference as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", BUNDLES)
def test_outputs_and_what_executes_are_the_python_engines(bundles, pixels, name):
    with (
        load_engine(bundles[name], "onnxruntime", EngineOptions(threads=1)) as python,
        open_engine(bundles[name], max_batch=8, threads=1, precision=b"f16") as engine,
    ):
        assert engine.info.backend.decode() == "onnxruntime"
        assert engine.info.executes.decode() == python.precision
        for batch in (1, 3, 8):
            expected, found = python.infer(pixels[:batch]), engine.infer(pixels[:batch])
            for mine, theirs in zip(found, (expected.logits, expected.embedding), strict=True):
                assert nearest(mine, theirs) <= ROUNDINGS


@pytest.mark.parametrize("name", BUNDLES)
def test_the_self_check_gives_the_figures_of_verify(bundles, name):
    bundle = open_bundle(bundles[name])
    (expected,) = verify_bundle(bundle, ("onnxruntime",))
    with open_engine(bundles[name], max_batch=len(bundle.manifest.golden), precision=b"f16") as engine:
        check = engine.self_check()
    assert (check.images, check.same_top1) == (expected.images, expected.same_top1)
    assert check.logits_db == pytest.approx(expected.logits_db, abs=SAME_DECIBELS)
    assert check.embedding_db == pytest.approx(expected.embedding_db, abs=SAME_DECIBELS)
    assert check.required_db == expected.required_db


def test_outputs_are_pytorchs(bundles, reference):
    with open_engine(bundles["fp32"], max_batch=len(reference.pixels)) as engine:
        logits, embedding = engine.infer(reference.pixels)
    # Another order of sums through 18 layers.
    assert nearest(logits, reference.logits) < 1e-4
    assert nearest(embedding, reference.embedding) < 1e-4


def test_a_graph_of_a_fixed_batch_takes_any_number_of_images(bundles, fixed_batch, pixels):
    with open_engine(bundles["fp32"], max_batch=8) as dynamic, open_engine(fixed_batch, max_batch=8) as fixed:
        for images in (1, 3, 8):
            for before, now in zip(dynamic.infer(pixels[:images]), fixed.infer(pixels[:images]), strict=True):
                assert nearest(now, before) <= ROUNDINGS


def test_a_network_without_a_classifier_gives_its_embedding(backbone, bundles, pixels):
    with open_engine(bundles["fp32"]) as both, open_engine(backbone.fp32) as alone:
        logits, embedding = alone.infer(pixels[:1])
        assert logits.shape == (1, 0)
        assert nearest(embedding, both.infer(pixels[:1])[1]) <= ROUNDINGS
        check = alone.self_check()
    assert (check.images, check.same_top1, check.logits_db) == (4, 0, math.inf)
    assert check.embedding_db >= check.required_db


def test_other_memory_and_another_batch_are_taken_from_call_to_call(bundles, pixels):
    with open_engine(bundles["fp32"], max_batch=8, threads=1) as engine:
        expected = engine.infer(pixels)[0]
        for first in (7, 0, 3):
            found = engine.infer(pixels[first : first + 1].copy())[0]
            assert nearest(found[0], expected[first]) <= ROUNDINGS


def test_two_engines_are_open_at_once_and_close_in_any_order(bundles, pixels):
    first, second = open_engine(bundles["fp32"]), open_engine(bundles["fp16"])
    expected = first.infer(pixels[:1])[0]
    first.close()
    assert nearest(second.infer(pixels[:1])[0], expected) < 1e-2
    second.close()


def test_it_is_chosen_in_a_library_without_openvino_and_named_by_the_version(bundles):
    assert library().rne_version().decode().endswith(" onnxruntime")
    for backend in (Backend.AUTO, Backend.ONNXRUNTIME):
        with open_engine(bundles["fp32"], backend=backend) as engine:
            assert engine.info.backend == b"onnxruntime"
    with pytest.raises(LibraryError, match="built without OpenVINO"):
        open_engine(bundles["fp32"], backend=Backend.OPENVINO)


def test_a_library_with_openvino_alone_says_how_it_is_built_in(bundles):
    with pytest.raises(LibraryError, match="DRNE_ONNXRUNTIME=ON") as caught:
        Engine(bundles["fp32"], backend=Backend.ONNXRUNTIME)
    assert caught.value.status == Status.UNSUPPORTED


def test_no_profile_is_left_behind(bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    open_engine(bundles["fp32"]).close()
    # onnxruntime itself leaves a file of its telemetry there.
    assert list(tmp_path.glob("resnet_engine*")) == []


def test_a_folder_for_temporary_files_that_is_none_is_refused(bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    refused(Status.BACKEND, "TMPDIR", bundle=bundles["fp32"])


def refused(status, *words, bundle, **changes):
    """Check that an engine is refused in one line."""
    with pytest.raises(LibraryError) as caught:
        open_engine(bundle, **changes)
    assert caught.value.status == status
    assert caught.value.message.isprintable(), caught.value.message
    for word in words:
        assert word in caught.value.message


def test_libraries_that_cannot_be_used_are_refused_in_one_line(bundles, tmp_path):
    (tmp_path / "old.c").write_text(TOO_OLD, encoding="utf-8")
    run("cc", "-shared", "-fPIC", str(tmp_path / "old.c"), "-o", str(tmp_path / "old.so"))
    for named, words in (
        (tmp_path / "absent.so", ("cannot be loaded", "rne_params.onnxruntime_library", "1.2")),
        (Path("libm.so.6"), ("libm.so.6 is not onnxruntime's library", "OrtGetApiBase")),
        (tmp_path / "old.so", ("libonnxruntime is of 1.2.3, this library was built for onnxruntime 1.2",)),
    ):
        refused(Status.BACKEND, *words, bundle=bundles["fp32"], onnxruntime_library=bytes(named))


@pytest.mark.parametrize("word", [b"bf16", b"f8", b""])
def test_precisions_that_onnxruntime_has_not_are_refused(bundles, word):
    refused(Status.INVALID_ARGUMENT, f'"{word.decode()}"', '"f32" or "f16"', bundle=bundles["fp32"], precision=word)


def test_a_damaged_graph_is_refused_in_one_line(exported):
    model = (exported.fp32 / "model.onnx").read_bytes()
    manifest = (exported.fp32 / "bundle.json").read_bytes()
    for damaged in (model[:1000], b"x", model[:-1]):
        parts = make_buffers(manifest=manifest, model=damaged)
        refused(Status.BACKEND, "cannot open the bundle's model.onnx", bundle=parts, check_hashes=0)


@pytest.mark.parametrize("change", [{"classes": 999}, {"embedding_dim": 511}])
def test_a_manifest_that_does_not_fit_its_model_is_refused(exported, tmp_path, change):
    folder = copy_bundle(exported.fp32, tmp_path / "bundle", edit=lambda manifest: manifest["model"].update(change))
    refused(Status.BACKEND, "cannot run the batch", bundle=folder)


def test_the_loader_finds_the_library_by_its_usual_name_and_calls_allocate_nothing(exported, tmp_path):
    (tmp_path / "libonnxruntime.so.1").symlink_to(runtime_library())
    prefix = build_with_onnxruntime("onnxruntime")
    program = BUILDS / "onnxruntime" / "allocations_main"
    with locked():
        words = ["c++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{prefix / 'include'}"]
        words += [str(SOURCE / "tests/allocations_main.cpp"), f"-L{prefix / 'lib'}", f"-Wl,-rpath,{prefix / 'lib'}"]
        run(*words, "-lresnet_engine", "-ldl", "-rdynamic", "-o", str(program))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    printed = subprocess.check_output([program, exported.fp32], env=environment, text=True)
    counts = dict(line.split() for line in printed.splitlines())
    assert int(counts["control"]) > 0
    assert (counts["preprocess"], counts["infer"], counts["elsewhere"]) == ("0", "0", "0")


def test_no_sanitizer_finds_anything(bundles, fixed_batch):
    require_flags("c++", [f"-fsanitize={SANITIZERS}"], package="g++")
    options = {"BUILD_SHARED_LIBS": "OFF", "CMAKE_BUILD_TYPE": "Debug", "RNE_SANITIZE": SANITIZERS}
    build_with_onnxruntime("onnxruntime-sanitized", **options)
    build = BUILDS / "onnxruntime-sanitized"
    with locked():
        words = ["c++", "-std=c++17", "-g", "-O1", "-Wall", "-Wextra", "-Werror", f"-fsanitize={SANITIZERS}"]
        words += [f"-I{SOURCE / 'include'}", str(SOURCE / "tests/onnxruntime_main.cpp")]
        run(*words, str(build / "libresnet_engine.a"), "-ldl", "-pthread", "-o", str(build / "onnxruntime_main"))
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1"}
    for bundle in (bundles["fp16"], bundles["int8"], fixed_batch):
        words = [str(build / "onnxruntime_main"), str(bundle), str(runtime_library())]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_stand_in_has_the_places_and_values_of_onnxruntimes_header(tmp_path):
    header = onnxruntimes_header()
    if header is None:
        pytest.skip("onnxruntime's header is not here: Debian 13's libonnxruntime-dev, or RNE_ONNXRUNTIME_INCLUDE")
    printed = [numbers_of(folder, tmp_path) for folder in (header, STANDIN)]
    assert printed[0] == printed[1]


def numbers_of(folder, tmp_path):
    """Places of functions and values of constants by name, as a header has them."""
    values = [f"offsetof(OrtApi, {name}) / sizeof(void *)" for name in FUNCTIONS]
    lines = [f'std::printf("%zu,", std::size_t({value}));' for value in (*values, *CONSTANTS)]
    includes = f"#include <{HEADER}>\n#include <cstdio>\n#include <cstddef>\n"
    text = f'{includes}int main() {{ std::printf("["); {"".join(lines)} std::printf("0]"); }}\n'
    (tmp_path / "numbers.cpp").write_text(text, encoding="utf-8")
    run("c++", "-std=c++17", f"-I{folder}", str(tmp_path / "numbers.cpp"), "-o", str(tmp_path / "numbers"))
    return dict(zip((*FUNCTIONS, *CONSTANTS), json.loads(run(str(tmp_path / "numbers"))), strict=False))
