"""Plans on a real machine: `make test-gpu`.

Everything here needs an NVIDIA GPU and TensorRT and skips, with the reason, where there is none. The same tests run
on the stand-in of TensorRT in tests/runtime/engines/trt/test_lane.py, so that they are known to be right before a GPU
sees them.
"""

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.bundle.bundle import open_bundle
from runtime.bundle.layout import PLAN_FILE, PLAN_LAYERS_FILE, SIDECAR_FILE
from runtime.bundle.plan_json import BatchProfile, BuildOptions, read_sidecar
from runtime.commands.run_ssl import app
from runtime.engines.open_engine import load_engine
from runtime.engines.trt.cuda_calls import DeviceBuffer, PinnedBuffer, Stream, copy_to_device, copy_to_host
from runtime.engines.trt.device_arrays import DeviceArray
from runtime.engines.trt.machine import find_machine
from runtime.engines.trt.trt_engine import TensorRtEngine, open_plan
from runtime.errors import BundleError, EngineError
from runtime.plans.build_plan import build_plan
from tests.helpers.exported import copy_bundle, decibels
from tests.helpers.gpu_bundles import PRECISIONS, gather_bundles

PROBLEM = find_machine().problem
STANDIN = "STANDIN_TENSORRT" in os.environ
pytestmark = pytest.mark.gpu
if PROBLEM:
    pytest.skip(f"no plan can run here: {PROBLEM}", allow_module_level=True)
real_gpu = pytest.mark.skipif(STANDIN, reason="the stand-in is no GPU")
# Smaller than most batches here, so that splitting is the rule.
PROFILE = BatchProfile(min=2, opt=4, max=8)
# A sum in another order, in FP16 and with INT8 roundings that flip: what the same image may differ by in two batches
# is the noise that the bundle's own tolerance allows.


@pytest.fixture(scope="module")
def folder(request, tmp_path_factory):
    """The bundles, made here or, where EXPORT_SSL_GPU_BUNDLES names a folder, copied from it."""
    target = tmp_path_factory.mktemp("gpu")
    ready = os.environ.get("EXPORT_SSL_GPU_BUNDLES")
    if ready:
        shutil.copytree(ready, target, dirs_exist_ok=True)
    else:
        gather_bundles(target, *(request.getfixturevalue(name) for name in ("exported", "quantized")))
    return target


@pytest.fixture(scope="module")
def pixels(folder):
    return np.load(folder / "pixels.npy")


@pytest.fixture(scope="module")
def logits(folder):
    return np.load(folder / "logits.npy")


@pytest.fixture(scope="module")
def timing_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache") / "times.cache"


@pytest.fixture(scope="module", params=PRECISIONS)
def built(request, folder, timing_cache):
    return build_plan(folder / request.param, BuildOptions(profile=PROFILE), timing_cache=timing_cache)


@pytest.fixture(scope="module")
def engine(built):
    with open_plan(built.bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def fp16(folder, timing_cache):
    """The FP16 bundle with a plan."""
    return build_plan(folder / "fp16", BuildOptions(profile=PROFILE), timing_cache=timing_cache).bundle


def required_db(opened):
    return opened.manifest.precision.min_sqnr_db


def test_the_description_beside_the_plan_is_true(built):
    import tensorrt as trt

    sidecar, path = read_sidecar(built.bundle.path), built.bundle.path
    assert trt.__version__.startswith(sidecar.tensorrt.removesuffix(".0"))
    device = find_machine().device
    assert (sidecar.gpu, sidecar.compute_capability) == (device.name, device.compute_capability)
    assert sidecar.plan_bytes == (path / PLAN_FILE).stat().st_size
    assert sidecar.licence.spdx == "CC-BY-NC-4.0"
    assert sidecar.options.profile == PROFILE
    assert sidecar.build_seconds > 0
    assert json.loads((path / PLAN_LAYERS_FILE).read_text(encoding="utf-8"))["Layers"]


def test_every_layer_runs_in_the_precision_that_was_promised(built):
    certificate = built.sidecar.certificate
    promised = {"fp32": 0, "fp16": 21, "int8-fp16": 21}[built.sidecar.precision]
    assert (certificate.promised, certificate.kept, certificate.passed) == (promised, promised, True)
    ran = {verdict.name: verdict.ran for verdict in certificate.verdicts}
    if built.sidecar.precision == "int8-fp16":
        assert (ran["layer1.0.conv1"], ran["layer4.1.conv2"], ran["fc"]) == ("int8", "int8", "fp16")
    elif built.sidecar.precision == "fp16":
        assert set(ran.values()) == {"fp16"}


def test_layer_times_are_measured_for_the_layers_that_the_inspector_lists(built):
    times = built.sidecar.certificate.layer_times_ms
    layers = json.loads((built.bundle.path / PLAN_LAYERS_FILE).read_text(encoding="utf-8"))["Layers"]
    assert times
    assert {layer["Name"] for layer in layers} & times.keys()
    assert all(value >= 0 for value in times.values())


def test_the_plan_gives_pytorchs_logits_and_embedding(engine, folder, pixels, logits):
    found = engine.infer(pixels)
    assert (found.logits.dtype, found.logits.shape) == (np.float32, (len(pixels), 1000))
    assert decibels(logits, found.logits) >= required_db(engine)
    assert decibels(np.load(folder / "embedding.npy"), found.embedding) >= required_db(engine)


@pytest.mark.parametrize("batch", [1, 2, 3, 8, 9, 17])
def test_an_image_gives_the_same_in_any_batch_within_the_profile_and_beyond(engine, pixels, logits, batch):
    found = engine.infer(pixels[:batch]).logits
    assert found.shape == (batch, 1000)
    assert decibels(logits[:batch], found) >= required_db(engine)


def test_a_replayed_graph_computes_the_new_images(engine, pixels, logits):
    for start in (0, 8, 16, 0):
        found = engine.infer(pixels[start : start + 8]).logits
        assert decibels(logits[start : start + 8], found) >= required_db(engine)


def test_outputs_are_the_callers_own(engine, pixels):
    first = engine.infer(pixels[:4]).logits
    kept = first.copy()
    engine.infer(pixels[4:8])
    np.testing.assert_array_equal(first, kept)


def test_more_batch_sizes_than_a_lane_keeps(engine, pixels, logits):
    for batch in (*range(1, 9), 3, 1):
        found = engine.infer(pixels[:batch]).logits
        assert decibels(logits[:batch], found) >= required_db(engine)


def test_eight_threads_share_an_engine_and_give_the_serial_runs_bits(engine, pixels, logits):
    barrier = threading.Barrier(8)

    def work(index):
        barrier.wait()
        results = []
        for round_number in range(3):
            start, batch = (index * 5 + round_number) % 16, 1 + (index + round_number) % 7
            results.append((start, batch, engine.infer(pixels[start : start + batch]).logits))
        return results

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for start, batch, found in results:
                assert decibels(logits[start : start + batch], found) >= required_db(engine)
                # An engine of TensorRT's is deterministic: the same plan, batch and images give the same bits.
                np.testing.assert_array_equal(found, engine.infer(pixels[start : start + batch]).logits)


def test_pending_batches_keep_their_images_apart(engine, pixels, logits):
    pending = [engine.infer_async(pixels[start : start + 6]) for start in range(0, 24, 6)]
    for start, one in reversed(list(zip(range(0, 24, 6), pending, strict=True))):
        found = one.result().logits
        assert decibels(logits[start : start + 6], found) >= required_db(engine)
        assert one.done()


def test_a_batch_that_nobody_waits_for_gives_its_lane_back(engine, pixels):
    engine.infer(pixels[:2])
    lane = engine.take_lane()
    engine.with_lane(lane, lambda: None)
    pending = engine.infer_async(pixels[:2])
    del pending
    again = engine.take_lane()
    engine.with_lane(again, lambda: None)
    assert again is lane


class OnDevice:
    """An array on the GPU with the CUDA array interface, as another library would have it."""

    def __init__(self, array, *, offset=0, stream=None):
        self.stream = stream or Stream()
        self.size = array.nbytes
        self._pinned, self._buffer = PinnedBuffer(array.nbytes), DeviceBuffer(array.nbytes + offset)
        self._pinned.array[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        pointer = self._buffer.pointer + offset
        copy_to_device(pointer, self._pinned.pointer, array.nbytes, self.stream.handle)
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (pointer, False),
            "version": 3,
            "strides": None,
            "stream": self.stream.handle,
        }

    def close(self):
        self.stream.synchronise()
        self._pinned.close()
        self._buffer.close()


def to_host(array: DeviceArray) -> np.ndarray:
    stream, pinned = Stream(), PinnedBuffer(array.size_bytes)
    described = array.__cuda_array_interface__
    if array.written is not None:
        array.written.hold(stream.handle)
    copy_to_host(pinned.pointer, described["data"][0], array.size_bytes, stream.handle)
    stream.synchronise()
    found = pinned.array.view(described["typestr"]).reshape(described["shape"]).copy()
    pinned.close()
    stream.close()
    return found


@pytest.mark.parametrize("batch", [1, 8, 19])
def test_images_on_the_gpu_give_what_images_on_the_host_give(engine, pixels, logits, batch):
    images = OnDevice(pixels[:batch])
    found = engine.infer_device(images)
    assert found.logits.__dlpack_device__() == (2, 0)
    assert decibels(logits[:batch], to_host(found.logits)) >= required_db(engine)
    images.close()


def test_an_address_that_tensorrt_does_not_take_is_copied_on_the_gpu(engine, pixels, logits):
    images = OnDevice(pixels[:5], offset=64)
    found = engine.infer_device(images)
    assert decibels(logits[:5], to_host(found.logits)) >= required_db(engine)
    images.close()


def test_work_on_the_callers_stream_does_not_disturb_the_engines_own(engine, pixels, logits):
    stream = Stream()
    images = OnDevice(pixels[:8], stream=stream)
    first = engine.infer_device(images, stream=stream.handle)
    host = engine.infer(pixels[8:16]).logits
    assert decibels(logits[8:16], host) >= required_db(engine)
    assert decibels(logits[:8], to_host(first.logits)) >= required_db(engine)
    images.close()


def test_output_memory_is_used_again_once_it_is_let_go(engine, pixels):
    images = OnDevice(pixels[:4])
    first = engine.infer_device(images)
    kept = first.logits.pointer
    second = engine.infer_device(images)
    assert second.logits.pointer != kept
    del first
    third = engine.infer_device(images)
    assert kept in (third.logits.pointer, third.embedding.pointer)
    images.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pixels: pixels[:, :32], r"expected \(N, 64, 64, 3\) uint8"),
        (lambda pixels: pixels.astype(np.float32), "expected"),
        (lambda pixels: pixels[:0], "N >= 1"),
    ],
)
def test_a_wrong_array_on_the_gpu_is_refused(engine, pixels, change, reason):
    images = OnDevice(np.ascontiguousarray(change(pixels[:2])) if len(change(pixels[:2])) else pixels[:2])
    images.__cuda_array_interface__["shape"] = change(pixels[:2]).shape
    with pytest.raises(EngineError, match=reason):
        engine.infer_device(images)
    images.close()


@real_gpu
def test_torch_tensors_go_in_and_out_without_a_copy(engine, pixels, logits):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    images = torch.from_numpy(pixels).cuda()
    found = engine.infer_device(images)
    for tensor in (torch.from_dlpack(found.logits), torch.as_tensor(found.logits, device="cuda")):
        assert tensor.data_ptr() == found.logits.pointer
        assert decibels(logits, tensor.cpu().numpy()) >= required_db(engine)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        images = images.flip(0).contiguous()
        found = engine.infer_device(images, stream=stream)
        flipped = torch.from_dlpack(found.logits).flip(0)
    stream.synchronize()
    assert decibels(logits, flipped.cpu().numpy()) >= required_db(engine)


def test_auto_prefers_the_plan(fp16):
    with load_engine(fp16) as opened:
        assert isinstance(opened, TensorRtEngine)
        assert (opened.name, opened.precision) == ("tensorrt", "fp16, 21 of 21 layers")


def test_a_closed_engine_says_so(fp16, pixels):
    opened = open_plan(fp16)
    opened.infer(pixels[:1])
    opened.close()
    opened.close()
    with pytest.raises(EngineError, match="closed: open it again"):
        opened.infer(pixels[:1])


def test_the_second_build_uses_the_kernel_times_of_the_first(fp16, timing_cache):
    again = build_plan(fp16.path, BuildOptions(profile=PROFILE), timing_cache=timing_cache)
    assert "bytes reused" in again.sidecar.timing_cache


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_plan_that_was_touched_is_not_loaded(fp16, tmp_path, damage):
    path = copy_bundle(fp16.path, tmp_path / "bundle")
    plan = bytearray((path / PLAN_FILE).read_bytes())
    if damage == "flipped":
        plan[len(plan) // 2] ^= 1
    else:
        del plan[-100:]
    (path / PLAN_FILE).write_bytes(plan)
    with pytest.raises(BundleError, match=f"run-ssl build {path}"):
        open_plan(open_bundle(path))


def test_the_commands_verify_explain_and_examine_a_plan(fp16):
    for arguments in (
        ("verify", str(fp16.path), "--engines", "tensorrt"),
        ("explain", str(fp16.path)),
        ("doctor", str(fp16.path)),
    ):
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
    assert "plan" in result.stdout


@pytest.mark.parametrize("level", ["ampere+", "same-compute-capability"])
def test_a_plan_for_more_gpus_and_versions_works_here_too(folder, pixels, logits, level):
    version = find_machine().tensorrt
    if level == "same-compute-capability" and version < (10, 9):
        pytest.skip(f"TensorRT {version} does not have it")
    options = BuildOptions(profile=PROFILE, version_compatible=True, hardware_compatibility=level)
    built = build_plan(folder / "fp32", options)
    with open_plan(built.bundle) as opened:
        assert decibels(logits, opened.infer(pixels).logits) >= required_db(opened)


@real_gpu
def test_fp16_is_not_slower_than_fp32(folder, pixels):
    """Sanity, not a benchmark: at 64 pixels launches weigh most, so it is only not to be slower by half."""
    medians = {}
    for precision in ("fp32", "fp16"):
        build_plan(folder / precision, BuildOptions(profile=BatchProfile(min=1, opt=8, max=8)))
        with open_plan(open_bundle(folder / precision)) as opened:
            times = []
            for _ in range(300):
                began = time.perf_counter()
                opened.infer(pixels[:8])
                times.append(time.perf_counter() - began)
        medians[precision] = sorted(times[100:])[100]
    assert medians["fp16"] <= 1.5 * medians["fp32"]


def test_the_folder_holds_the_three_files_of_a_plan_and_no_leftovers(fp16):
    names = {file.name for file in Path(fp16.path).iterdir()}
    assert {PLAN_FILE, SIDECAR_FILE, PLAN_LAYERS_FILE} <= names
    assert not [name for name in names if name.endswith(".partial")]
