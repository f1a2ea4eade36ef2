"""The stand-in's engines: numbers of onnx's evaluator, profiles, memory, versions and GPUs."""

import json
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from tests.tensorrt_bindings.standin import VERSIONS
from tests.tensorrt_bindings.standin.scripts import conv_model, run_script, write_model

# Sums of 27 products of about 100 in float32, in another order.
ABSOLUTE = 1e-3


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_small_network_gives_the_numbers_of_onnx_s_evaluator(tmp_path, version, quantized):
    model = conv_model(quantized)
    x = np.random.default_rng(1).integers(0, 255, (3, 3, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    run_script(
        """
        x = np.load(sys.argv[2] + "/x.npy")
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        context = engine.create_execution_context()
        assert context.set_input_shape("x", x.shape)
        shape = tuple(context.get_tensor_shape("logits"))
        size = 4 * int(np.prod(shape))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        source, view = pinned(x.nbytes)
        view[:] = x.ravel()
        target, result = pinned(size)
        given, made = ok(c.cudaMalloc(x.nbytes)), ok(c.cudaMalloc(size))
        ok(c.cudaMemcpyAsync(given, source, x.nbytes, TO_DEVICE, stream))
        assert context.set_tensor_address("x", given) and context.set_tensor_address("logits", made)
        assert context.execute_async_v3(int(stream))
        ok(c.cudaMemcpyAsync(target, made, size, TO_HOST, stream))
        ok(c.cudaStreamSynchronize(stream))
        np.save(sys.argv[2] + "/y.npy", result.view(np.float32).reshape(shape))
        """,
        version=version,
        args=[write_model(tmp_path, model), tmp_path],
    )
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
    expected = outputs[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=ABSOLUTE)


def test_a_kernel_on_freed_memory_spoils_the_context(tmp_path):
    run_script(
        """
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        context = engine.create_execution_context()
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        context.set_input_shape("x", (1, 3, 8, 8))
        assert not context.execute_async_v3(int(stream)) and "address for x" in log.errors()[-1]
        context.set_tensor_address("x", ok(c.cudaMalloc(16)))
        context.set_tensor_address("logits", ok(c.cudaMalloc(1024)))
        assert context.execute_async_v3(int(stream))
        assert c.cudaStreamSynchronize(stream) == (E.cudaErrorIllegalAddress,)
        assert c.cudaMalloc(4) == (E.cudaErrorIllegalAddress, None)
        """,
        args=[write_model(tmp_path, conv_model())],
    )


def test_shapes_outside_the_profile_are_refused(tmp_path):
    run_script(
        """
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        context = engine.create_execution_context()
        assert not context.set_input_shape("x", (5, 3, 8, 8)) and "does not satisfy" in log.errors()[-1]
        assert [tuple(shape) for shape in engine.get_tensor_profile_shape("x", 0)] == [(n, 3, 8, 8) for n in (1, 2, 4)]
        """,
        args=[write_model(tmp_path, conv_model())],
    )


def test_plans_of_another_version_or_gpu_are_refused_and_portable_ones_run(tmp_path):
    path = write_model(tmp_path, conv_model())
    make = """
        def change(config):
            if sys.argv[3] != "plain":
                config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
                config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        open(sys.argv[2], "wb").write(build(open(sys.argv[1], "rb").read(), change=change))
        """
    load = """
        runtime = trt.Runtime(log)
        runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(open(sys.argv[1], "rb").read())
        print("loaded" if engine else log.errors()[-1])
        """
    other = json.dumps({"name": "NVIDIA Stand-in H100", "major": 9, "minor": 0})
    for kind in ("plain", "portable"):
        run_script(make, args=[path, tmp_path / kind, kind])
    assert run_script(load, args=[tmp_path / "plain"]).strip() == "loaded"
    assert "not compatible with this version" in run_script(load, version="11.4", args=[tmp_path / "plain"])
    assert "incompatible device" in run_script(load, args=[tmp_path / "plain"], STANDIN_GPU=other)
    assert run_script(load, args=[tmp_path / "portable"], STANDIN_GPU=other).strip() == "loaded"
    assert run_script(load, version="11.4", args=[tmp_path / "portable"]).strip() == "loaded"
    assert "not compatible with this version" in run_script(load, version="10.3", args=[tmp_path / "portable"])
    (tmp_path / "cut").write_bytes((tmp_path / "plain").read_bytes()[:-1])
    assert "Serialization" in run_script(load, args=[tmp_path / "cut"])


def test_the_profiler_hears_of_every_layer_once_the_stream_was_waited_for(tmp_path):
    run_script(
        """
        class Profiler(trt.IProfiler):
            def __init__(self):
                super().__init__()
                self.times = {}
            def report_layer_time(self, layer_name, ms):
                self.times[layer_name] = ms
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        context = engine.create_execution_context()
        context.profiler = profiler = Profiler()
        context.set_input_shape("x", (1, 3, 8, 8))
        context.set_tensor_address("x", ok(c.cudaMalloc(192)))
        context.set_tensor_address("logits", ok(c.cudaMalloc(1024)))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        assert context.execute_async_v3(int(stream)) and not profiler.times
        ok(c.cudaStreamSynchronize(stream))
        assert list(profiler.times) == ["__myl_Cast_myl0_0", "conv1 + act1"] and min(profiler.times.values()) > 0
        """,
        args=[write_model(tmp_path, conv_model())],
    )


def test_a_context_that_brings_its_own_memory_needs_it_and_a_first_run_before_a_capture(tmp_path):
    run_script(
        """
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        context.set_input_shape("x", (1, 3, 8, 8))
        context.set_tensor_address("x", ok(c.cudaMalloc(192)))
        context.set_tensor_address("logits", ok(c.cudaMalloc(1024)))
        assert not context.execute_async_v3(int(stream)) and "no device memory" in log.errors()[-1]
        size = engine.device_memory_size_v2
        scratch = ok(c.cudaMalloc(size))
        context.set_device_memory(scratch, size - 1)
        assert not context.execute_async_v3(int(stream))
        context.set_device_memory(scratch, size)
        mode = c.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        for first in (False, True):
            if first:
                assert context.execute_async_v3(int(stream))
                ok(c.cudaStreamSynchronize(stream))
            ok(c.cudaStreamBeginCapture(stream, mode))
            assert context.execute_async_v3(int(stream)) == first
            assert (c.cudaStreamEndCapture(stream)[0] == E.cudaSuccess) == first
        """,
        args=[write_model(tmp_path, conv_model())],
    )


def test_a_context_that_two_threads_use_at_once_says_so(tmp_path):
    run_script(
        """
        import threading
        found = []
        class Nosy(Log):
            # TensorRT logs in the middle of its call: that is when the other thread comes.
            def log(self, severity, msg):
                if "no shape or address" in msg:
                    def other():
                        try:
                            context.execute_async_v3(0)
                        except RuntimeError as error:
                            found.append(str(error))
                    thread = threading.Thread(target=other)
                    thread.start()
                    thread.join()
        plan = build(open(sys.argv[1], "rb").read())
        context = trt.Runtime(Nosy()).deserialize_cuda_engine(plan).create_execution_context()
        assert not context.execute_async_v3(0) and "two threads" in found[0]
        """,
        args=[write_model(tmp_path, conv_model())],
    )
