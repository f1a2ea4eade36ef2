"""The C library on real bundles, against the Python runtime's OpenVINO engine and what PyTorch gave."""

import ctypes
import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from calibration.options import QuantizeOptions
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.health.verify import verify_bundle
from runtime.images.preprocessing import preprocess
from tests.conftest import IMAGE_SIZE, crops
from tests.helpers.channel_bundles import COLOURS, SIZE, draw_picture, export_channels
from tests.helpers.cpp import library as cpp_library
from tests.helpers.cpp.build import SOURCE, require_tools
from tests.helpers.cpp.library import Backend, Check, Engine, LibraryError, Status, built_library, make_buffers

# Two builds of one OpenVINO kernel may order sums differently with another number of threads: a few float32 roundings,
# as a share of the largest logit.
ROUNDINGS = 1e-5
# The same network in OpenVINO and in PyTorch, whose sums are ordered otherwise throughout.
TIMMS_ROUNDINGS = 1e-4
# Two figures of one comparison; a decibel of 130 or so is made of the last bits of float32.
SAME_DECIBELS = 0.5
BUNDLES = ["fp32", "fp16", "int8", "float32_input"]
THREADS = 4
QUICK = QuantizeOptions(method="max", rounding=False, bias_correction=False)


@pytest.fixture(scope="module")
def bundles(exported, float_input, class_folders, tmp_path_factory):
    """Bundles of the same network by name."""
    require_tools()
    request = ExportRequest(
        model="ssl_resnet18",
        int8=Int8Request(images=class_folders, options=QUICK),
        weights=WeightsChoice(source="file", path=exported.checkpoint),
        img_size=IMAGE_SIZE,
        output=tmp_path_factory.mktemp("cpp_bundles") / "int8",
    )
    int8 = export_bundle(request).path
    return {"fp32": exported.fp32, "fp16": exported.fp16, "int8": int8, "float32_input": float_input}


@pytest.fixture(scope="module")
def pixels():
    return np.stack([np.asarray(picture.resize((IMAGE_SIZE, IMAGE_SIZE))) for picture in crops()[:8]])


def nearest(found, expected):
    """The largest difference as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_logits_and_embedding_equal_the_python_runtimes(bundles, pixels, name, batch):
    with load_engine(bundles[name], "openvino", EngineOptions(threads=1)) as python:
        expected = python.infer(pixels[:batch])
        with Engine(bundles[name], max_batch=8, threads=1) as engine:
            logits, embedding = engine.infer(pixels[:batch])
            assert engine.info.executes.decode() == python.precision
        assert nearest(logits, expected.logits) <= ROUNDINGS
        assert nearest(embedding, expected.embedding) <= ROUNDINGS


@pytest.mark.parametrize("images", [1, 3, 8])
def test_a_graph_of_a_fixed_batch_takes_any_number_of_images(bundles, fixed_batch, pixels, images):
    with Engine(bundles["fp32"], max_batch=8) as dynamic, Engine(fixed_batch, max_batch=8) as fixed:
        expected, found = dynamic.infer(pixels[:images]), fixed.infer(pixels[:images])
        again = fixed.infer(pixels[:images])
    for before, now, then in zip(expected, found, again, strict=True):
        assert nearest(now, before) <= ROUNDINGS
        np.testing.assert_array_equal(then, now)


def test_the_self_check_of_a_graph_of_a_fixed_batch_runs_its_four_images(fixed_batch):
    with Engine(fixed_batch, max_batch=2) as engine:
        check = engine.self_check()
    assert check.images == 4
    assert min(check.logits_db, check.embedding_db) >= check.required_db


def test_outputs_equal_pytorchs(bundles, reference):
    with Engine(bundles["fp32"], max_batch=len(reference.pixels)) as engine:
        logits, embedding = engine.infer(reference.pixels)
    # Another order of sums through 18 layers.
    assert nearest(logits, reference.logits) < 1e-4
    assert nearest(embedding, reference.embedding) < 1e-4


def test_either_output_may_be_left_out(bundles, pixels):
    with Engine(bundles["fp32"]) as engine:
        both = engine.infer(pixels[:1])
        for wanted in range(2):
            alone = np.full_like(both[wanted], np.nan)
            addresses: list[int | None] = [None, None]
            addresses[wanted] = alone.ctypes.data
            status = engine.library.rne_infer(engine.handle, pixels.ctypes.data, 1, *addresses)
            assert status == Status.OK
            np.testing.assert_allclose(alone, both[wanted], atol=ROUNDINGS * np.abs(alone).max())
        assert engine.library.rne_infer(engine.handle, pixels.ctypes.data, 1, None, None) == Status.OK


def test_memory_at_any_address_is_taken(bundles, pixels):
    with Engine(bundles["fp32"]) as engine:
        expected, _ = engine.infer(pixels[:1])
        shifted = np.zeros(pixels[0].nbytes + 1, np.uint8)
        shifted[1:] = pixels[0].ravel()
        room = np.zeros(engine.info.classes + 1, np.float32)
        status = engine.library.rne_infer(
            engine.handle, shifted.ctypes.data + 1, 1, room.ctypes.data + room.itemsize, None
        )
        assert status == Status.OK
        np.testing.assert_allclose(room[1:], expected[0], atol=ROUNDINGS * np.abs(expected).max())
        assert room[0] == 0


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("input_kind", ["uint8", "float32"])
def test_one_and_four_channels_give_timms_logits_and_pillows_bytes(colour, input_kind, tmp_path):
    held = export_channels(tmp_path, colour, input_kind=input_kind)
    pictures = [held.picture(seed) for seed in range(2)]
    with Engine(held.path, max_batch=2) as engine:
        assert (engine.info.channels, engine.info.pixels_bytes) == (len(colour), SIZE * SIZE * len(colour))
        pixels = np.stack([engine.preprocess(np.asarray(picture)) for picture in pictures])
        assert np.array_equal(pixels, np.stack([np.asarray(picture).reshape(SIZE, SIZE, -1) for picture in pictures]))
        colours = draw_picture("RGB", 3)
        assert engine.preprocess(np.asarray(colours)).tobytes() == colours.convert(colour).tobytes()
        logits, _ = engine.infer(pixels)
        expected = held.expected(pictures)
        assert nearest(logits, expected) <= TIMMS_ROUNDINGS
        assert engine.self_check().same_top1 == 4


@pytest.mark.parametrize(("colour", "target"), [("L", "cpu"), ("RGBA", "tensorrt")])
def test_int8_of_one_and_four_channels_gives_the_figures_of_verify(colour, target, tmp_path):
    for number in range(16):
        draw_picture(colour, number).save(tmp_path / f"{number}.png")
    int8 = Int8Request(images=tmp_path, options=replace(QUICK, target=target))
    bundle = open_bundle(export_channels(tmp_path, colour, int8=int8).path)
    (expected,) = verify_bundle(bundle, ("openvino",))
    with Engine(bundle.path, max_batch=len(bundle.manifest.golden)) as engine:
        check = engine.self_check()
    assert (check.images, check.same_top1) == (expected.images, expected.same_top1)
    assert check.logits_db == pytest.approx(expected.logits_db, abs=SAME_DECIBELS)
    assert check.logits_db >= check.required_db


def test_a_refused_batch_leaves_the_outputs_alone(bundles, pixels):
    with Engine(bundles["fp32"], max_batch=3) as engine:
        for batch in (0, 4, 2**63):
            logits = np.full(4 * engine.info.classes, 7, np.float32)
            status = engine.library.rne_infer(engine.handle, pixels.ctypes.data, batch, logits.ctypes.data, None)
            assert status == Status.INVALID_ARGUMENT
            assert "max_batch" in engine.library.rne_last_error().decode()
            assert (logits == 7).all()


@pytest.mark.parametrize("name", BUNDLES)
def test_self_check_gives_the_figures_of_verify(bundles, name):
    bundle = open_bundle(bundles[name])
    (expected,) = verify_bundle(bundle, ("openvino",))
    with Engine(bundles[name], max_batch=len(bundle.manifest.golden)) as engine:
        check = engine.self_check()
    assert (check.images, check.same_top1) == (expected.images, expected.same_top1)
    assert check.logits_db == pytest.approx(expected.logits_db, abs=SAME_DECIBELS)
    assert check.embedding_db == pytest.approx(expected.embedding_db, abs=SAME_DECIBELS)
    assert check.required_db == expected.required_db
    assert math.isfinite(check.logits_db)


def test_a_network_without_a_classifier_has_no_classes_and_gives_its_embedding(backbone, bundles, pixels):
    with Engine(bundles["fp32"]) as both, Engine(backbone.fp32) as alone:
        assert (alone.info.classes, alone.info.embedding_dim) == (0, both.info.embedding_dim)
        assert alone.labels() == ()
        logits, embedding = alone.infer(pixels[:1])
        assert logits.shape == (1, 0)
        assert nearest(embedding, both.infer(pixels[:1])[1]) <= ROUNDINGS
        check = alone.self_check()
    bundle = open_bundle(backbone.fp32)
    (expected,) = verify_bundle(bundle, ("openvino",))
    assert (check.images, check.same_top1, check.logits_db) == (4, 0, math.inf)
    assert check.embedding_db == pytest.approx(expected.embedding_db, abs=SAME_DECIBELS)


def test_self_check_in_single_images_is_the_same(bundles):
    with Engine(bundles["fp32"]) as alone, Engine(bundles["fp32"], max_batch=3) as batched:
        first, second = alone.self_check(), batched.self_check()
    assert first.images == second.images == 4
    assert first.logits_db == pytest.approx(second.logits_db, abs=SAME_DECIBELS)


def test_info_and_labels_are_the_manifests(bundles):
    bundle = open_bundle(bundles["int8"])
    with Engine(bundles["int8"], max_batch=3) as engine:
        info, manifest = engine.info, bundle.manifest
        assert (info.model.decode(), info.precision.decode()) == (manifest.model.name, "int8")
        assert (info.backend.decode(), info.licence.decode()) == ("openvino", manifest.licence.spdx)
        assert (info.classes, info.embedding_dim) == (manifest.model.classes, manifest.model.embedding_dim)
        assert (info.image_height, info.image_width, info.max_batch) == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert info.pixels_bytes == IMAGE_SIZE**2 * 3
        assert engine.labels() == bundle.labels()
        assert engine.library.rne_label(engine.handle, info.classes) == b""
        assert engine.library.rne_label(engine.handle, 2**64 - 1) == b""


def test_buffers_give_what_the_directory_gives(bundles, pixels):
    folder = bundles["fp32"]
    parts = make_buffers(
        manifest=(folder / "bundle.json").read_bytes(),
        model=(folder / "model.onnx").read_bytes(),
        labels=(folder / "labels.txt").read_bytes(),
    )
    with Engine(folder, threads=1) as directory, Engine(parts, threads=1) as memory:
        # The buffers are the caller's again after the call.
        del parts
        for expected, found in zip(directory.infer(pixels[:1]), memory.infer(pixels[:1]), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert memory.labels() == directory.labels()
        with pytest.raises(LibraryError, match="golden") as caught:
            memory.self_check()
    assert caught.value.status == Status.UNSUPPORTED


def test_handles_in_several_threads_give_what_one_gives(bundles, pixels):
    with Engine(bundles["fp32"], threads=1) as engine:
        expected = [engine.infer(picture[None])[0] for picture in pixels]

    def work(first):
        with Engine(bundles["fp32"], threads=1) as own:
            found = []
            for i in range(len(pixels)):
                picture = (first + i) % len(pixels)
                found.append((picture, own.infer(pixels[picture][None])[0]))
                # Every thread has its own last error.
                assert own.library.rne_infer(own.handle, None, 1, None, None) == Status.INVALID_ARGUMENT
                assert own.library.rne_last_error().decode().startswith("engine or pixels")
            return found

    with ThreadPoolExecutor(THREADS) as pool:
        for found in pool.map(work, range(THREADS)):
            for picture, logits in found:
                assert nearest(logits, expected[picture]) <= ROUNDINGS


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_preprocessed_bytes_are_the_python_runtimes(bundles, mode):
    preprocessing = open_bundle(bundles["fp32"]).manifest.preprocessing
    with Engine(bundles["fp32"]) as engine:
        for picture in crops()[:6]:
            converted = picture.convert(mode)
            np.testing.assert_array_equal(
                engine.preprocess(np.array(converted)), preprocess(converted.convert("RGB"), preprocessing)
            )


def test_a_reduced_precision_runs_and_says_so_or_is_refused_in_words(bundles, pixels):
    with Engine(bundles["fp32"], threads=1) as engine:
        expected, _ = engine.infer(pixels[:1])
    with Engine(bundles["fp32"], threads=1, precision=b"bf16") as engine:
        found, _ = engine.infer(pixels[:1])
        # 8 bits of mantissa; a processor without bf16 computes in float32 and says that.
        assert nearest(found, expected) < 0.1
        assert engine.info.executes.decode() in ("fp32", "fp32 weights, bf16 execution")
    with pytest.raises(LibraryError, match='"f8"') as caught:
        Engine(bundles["fp32"], precision=b"f8")
    assert caught.value.status == Status.INVALID_ARGUMENT


def test_tensorrt_is_refused_in_words_where_it_was_not_built(bundles):
    with pytest.raises(LibraryError, match="TensorRT") as caught:
        Engine(bundles["fp32"], backend=Backend.TENSORRT)
    assert caught.value.status == Status.UNSUPPORTED


def test_streams_are_refused_on_a_cpu(bundles, pixels):
    with Engine(bundles["fp32"]) as engine:
        room = np.zeros(engine.info.classes, np.float32)
        arguments = (pixels.ctypes.data, 1, room.ctypes.data, room.ctypes.data, None)
        assert engine.library.rne_infer_on_stream(engine.handle, *arguments) == Status.UNSUPPORTED
        assert "rne_infer()" in engine.library.rne_last_error().decode()


def test_version_names_the_headers_version_and_the_back_ends():
    header = (SOURCE / "include/resnet_engine.h").read_text(encoding="utf-8")
    version = ".".join(re.search(rf"RNE_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    assert built_library().rne_version().decode() == f"{version} openvino"


def test_null_is_refused_or_harmless_everywhere(bundles):
    library = built_library()
    handle, info = ctypes.c_void_p(), library.rne_get_info(None)
    assert (info.model, info.classes, info.max_batch) == (None, 0, 0)
    assert library.rne_label(None, 0) == b""
    library.rne_close(None)
    library.rne_preprocessor_close(None)
    refusals = [
        library.rne_open(None, None, ctypes.byref(handle)),
        library.rne_open(bytes(bundles["fp32"]), None, None),
        library.rne_open_buffers(None, None, ctypes.byref(handle)),
        library.rne_open_buffers(ctypes.byref(make_buffers()), None, ctypes.byref(handle)),
        library.rne_open_buffers(ctypes.byref(make_buffers(manifest=b"{}")), None, None),
        library.rne_preprocess(None, None, None),
        library.rne_infer(None, None, 1, None, None),
        library.rne_infer_on_stream(None, None, 1, None, None, None),
        library.rne_self_check(None, ctypes.byref(Check())),
        library.rne_preprocessor_open(None, ctypes.byref(handle)),
        library.rne_preprocessor_open(ctypes.byref(cpp_library.Resize(64, 64, 0)), None),
        library.rne_preprocessor_run(None, None, None),
    ]
    assert refusals == [Status.INVALID_ARGUMENT] * len(refusals)
    assert not handle
    with Engine(bundles["fp32"]) as engine:
        assert library.rne_self_check(engine.handle, None) == Status.OK


def test_default_parameters_are_used_where_none_are_given(bundles):
    library, handle = built_library(), ctypes.c_void_p()
    assert library.rne_open(bytes(bundles["fp32"]), None, ctypes.byref(handle)) == Status.OK
    assert library.rne_get_info(handle).max_batch == 1
    library.rne_close(handle)
