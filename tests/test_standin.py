"""The stand-in of tensorrt and cuda.bindings: as strict as the interface files, and it computes the right numbers.

Each test runs a script in a process of its own, so that NVIDIA's packages, where they are installed, stay as they are.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.standin import VERSIONS, standin_environment

ROOT = Path(__file__).parents[1]
# Sums of 27 products of about 100 in float32, in another order.
ABSOLUTE = 1e-3

PRELUDE = """
import ctypes, json, os, sys
import numpy as np
import tensorrt as trt
from cuda.bindings import runtime as c
from cuda.bindings._machine import allocated
from cuda.bindings._streams import live_objects

K, E = c.cudaMemcpyKind, c.cudaError_t
TO_DEVICE, TO_HOST = K.cudaMemcpyHostToDevice, K.cudaMemcpyDeviceToHost

def ok(result):
    status, *values = result
    assert status == E.cudaSuccess, status
    return values[0] if len(values) == 1 else None

def raises(kind, call, text=""):
    try:
        call()
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")

def pinned(size):
    address = ok(c.cudaMallocHost(size))
    return address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.lines = []
    def log(self, severity, msg):
        self.lines.append((severity.name, msg))
    def errors(self):
        return [msg for name, msg in self.lines if name == "ERROR"]

log = Log()

def parse(model):
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    return builder, network, parser, parser.parse(model)

def build(model, shapes=((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)), change=lambda config: None):
    builder, network, parser, parsed = parse(model)
    assert parsed, log.errors()
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    profile.set_shape("x", *shapes)
    config.add_optimization_profile(profile)
    change(config)
    return builder.build_serialized_network(network, config)

def inspect(plan):
    engine = trt.Runtime(log).deserialize_cuda_engine(plan)
    return engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
"""


def run(script, *, version="10.16", args=(), code=0, **env):
    """Return what a script prints with the stand-in imported; the process must end with `code`."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *map(str, args)],
        env=standin_environment(version, **env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout


def conv_model(quantized=False):
    """Cast, Conv, Relu on (n, 3, 8, 8) uint8; with Q/DQ around the convolution when asked for."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = {"w": weight}
    nodes = [helper.make_node("Cast", ["x"], ["xf"], "cast", to=TensorProto.FLOAT)]
    data, kernel = "xf", "w"
    if quantized:
        scales = np.abs(weight).max((1, 2, 3)) / 127
        steps = np.rint(weight / scales[:, None, None, None]).astype(np.int8)
        constants = {"w8": steps, "sw": scales, "zw": np.zeros(4, np.int8), "s": np.float32(2), "z": np.int8(0)}
        constants["so"] = np.float32(20)
        nodes += [
            helper.make_node("QuantizeLinear", ["xf", "s", "z"], ["xq"], "x.quantize"),
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "x.dequantize"),
            helper.make_node("DequantizeLinear", ["w8", "sw", "zw"], ["w"], "w.dequantize", axis=0),
        ]
        data = "xd"
    nodes += [
        helper.make_node("Conv", [data, kernel], ["y"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["a"], "act1"),
    ]
    if quantized:
        nodes += [
            helper.make_node("QuantizeLinear", ["a", "so", "z"], ["aq"], "a.quantize"),
            helper.make_node("DequantizeLinear", ["aq", "so", "z"], ["ad"], "a.dequantize"),
            helper.make_node("Conv", ["ad", "w2"], ["y2"], "conv2"),
            helper.make_node("Add", ["y2", "ad"], ["sum"], "add"),
            helper.make_node("Relu", ["sum"], ["logits"], "act2"),
            helper.make_node("DequantizeLinear", ["w28", "sw", "zw"], ["w2"], "w2.dequantize", axis=0),
        ]
        nodes = [*nodes[:-1][:8], nodes[-1], *nodes[8:-1]]
        constants["w28"] = random.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8)
    else:
        nodes[-1].output[0] = "logits"
    return make_model(nodes, constants)


def make_model(nodes, constants, dtype=TensorProto.UINT8):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", dtype, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def saved(tmp_path):
    """Write a model and return its path."""

    def save(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.mark.parametrize("version", VERSIONS)
def test_every_enumeration_has_the_values_of_its_version(version):
    expected = json.loads((ROOT / "tests/trt_api" / f"{version}.json").read_text())["enums"]
    printed = run(
        """
        enums = sys.argv[1].split(",")
        print(json.dumps({e: {n: int(m) for n, m in getattr(trt, e).__members__.items()} for e in enums}))
        """,
        version=version,
        args=[",".join(expected)],
    )
    assert json.loads(printed) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_version_is_the_interface_file_s(version):
    expected = json.loads((ROOT / "tests/trt_api" / f"{version}.json").read_text())["version"]
    assert run("print(trt.__version__)", version=version).strip() == expected


def test_names_that_the_interface_lacks_do_not_exist():
    run(
        """
        raises(AttributeError, lambda: trt.Builder(log).build_engine)
        raises(AttributeError, lambda: trt.float32)
        raises(AttributeError, lambda: trt.BuilderFlag.NO_SUCH)
        config = trt.Builder(log).create_builder_config()
        raises(AttributeError, lambda: config.max_workspace_size)
        raises(AttributeError, lambda: setattr(config, "max_workspace_size", 1))
        raises(AttributeError, lambda: setattr(config, "num_optimization_profiles", 1))
        """
    )


def test_names_of_another_version_do_not_exist():
    script = "raises(AttributeError, lambda: trt.BuilderFlag.FP16)"
    run(script, version="11.4")
    run("trt.BuilderFlag.FP16", version="10.3")
    run("raises(AttributeError, lambda: trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY)", version="10.3")


def test_wrong_arguments_are_type_errors():
    run(
        """
        text = "incompatible function arguments"
        builder = trt.Builder(log)
        config = builder.create_builder_config()
        raises(TypeError, lambda: trt.Builder(), text)
        raises(TypeError, lambda: trt.Builder("log"), text)
        raises(TypeError, lambda: builder.create_network(flag=1), text)
        raises(TypeError, lambda: builder.create_network(1, 2), text)
        raises(TypeError, lambda: builder.create_network(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED), text)
        raises(TypeError, lambda: config.set_flag(13), text)
        raises(TypeError, lambda: config.set_memory_pool_limit(0, 1), text)
        raises(TypeError, lambda: config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5), text)
        raises(TypeError, lambda: setattr(config, "profiling_verbosity", 2), text)
        raises(TypeError, lambda: builder.create_optimization_profile().set_shape("x", 1, 2, 3), text)
        raises(TypeError, lambda: trt.Runtime(log).deserialize_cuda_engine("plan"), text)
        raises(TypeError, lambda: trt.IBuilderConfig(), "No constructor defined")
        """
    )


def test_an_enumeration_is_no_int():
    run(
        """
        assert trt.DataType.HALF != 1 and int(trt.DataType.HALF) == 1 and trt.DataType.HALF.name == "HALF"
        assert trt.DataType.HALF == trt.DataType(1) and trt.DataType.HALF != trt.BuilderFlag(1)
        raises(TypeError, lambda: trt.DataType.HALF + 1)
        raises(TypeError, lambda: trt.DataType["HALF"])
        """
    )


def test_what_is_listed_and_not_played_says_so():
    script = (
        'raises(NotImplementedError, lambda: trt.Builder(log).get_plugin_registry(), "Builder.get_plugin_registry")'
    )
    run(script)


def test_a_derived_class_must_call_its_base():
    run(
        """
        class Silent(trt.IProfiler):
            def __init__(self):
                pass
        raises(TypeError, Silent, "IProfiler.__init__() must be called")
        """
    )


def test_host_memory_is_a_buffer_and_nothing_else(saved):
    run(
        """
        plan = build(open(sys.argv[1], "rb").read())
        assert bytes(plan)[:4] == b"ftrt" and len(memoryview(plan)) == plan.nbytes
        raises(TypeError, lambda: len(plan))
        raises(AttributeError, lambda: plan.hex())
        assert bytes(plan)[24:28] == bytes([10, 16, 1, 11])
        """,
        args=[saved(conv_model())],
    )


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_small_network_gives_the_numbers_of_onnx_s_evaluator(saved, tmp_path, version, quantized):
    model = conv_model(quantized)
    x = np.random.default_rng(1).integers(0, 255, (3, 3, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    run(
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
        args=[saved(model), tmp_path],
    )
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=ABSOLUTE)


def test_copies_happen_only_when_somebody_waits():
    run(
        """
        source, view = pinned(4)
        target, result = pinned(4)
        view[:], result[:] = 7, 1
        device = ok(c.cudaMalloc(4))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        event = ok(c.cudaEventCreateWithFlags(c.cudaEventDisableTiming))
        ok(c.cudaMemcpyAsync(device, source, 4, TO_DEVICE, stream))
        ok(c.cudaMemcpyAsync(target, device, 4, TO_HOST, stream))
        ok(c.cudaEventRecord(event, stream))
        assert list(result) == [1] * 4
        assert c.cudaEventQuery(event) == (E.cudaErrorNotReady,)
        ok(c.cudaEventSynchronize(event))
        assert list(result) == [7] * 4
        """
    )


def test_an_event_waits_for_what_came_before_it_alone():
    run(
        """
        source, view = pinned(2)
        target, result = pinned(2)
        view[:], result[:] = (1, 2), 0
        first, second = (ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking)) for _ in range(2))
        event = ok(c.cudaEventCreateWithFlags(0))
        host = K.cudaMemcpyHostToHost
        ok(c.cudaMemcpyAsync(target, source, 1, host, first))
        ok(c.cudaEventRecord(event, first))
        ok(c.cudaMemcpyAsync(target + 1, source + 1, 1, host, first))
        ok(c.cudaStreamWaitEvent(second, event, 0))
        ok(c.cudaStreamSynchronize(second))
        assert list(result) == [1, 0]
        ok(c.cudaStreamSynchronize(first))
        assert list(result) == [1, 2]
        """
    )


def test_wrong_copies_are_refused():
    run(
        """
        host, _ = pinned(16)
        device = ok(c.cudaMalloc(16))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        wrong = (E.cudaErrorInvalidValue,)
        assert c.cudaMemcpyAsync(device, host, 16, TO_HOST, stream) == wrong
        assert c.cudaMemcpyAsync(device, host, 17, TO_DEVICE, stream) == wrong
        assert c.cudaMemcpyAsync(device + 8, host, 9, TO_DEVICE, stream) == wrong
        assert c.cudaMemcpyAsync(0, host, 1, TO_DEVICE, stream) == wrong
        assert c.cudaFree(host) == wrong and c.cudaFreeHost(device) == wrong
        ok(c.cudaFree(device))
        assert c.cudaFree(device) == wrong
        assert c.cudaMemcpyAsync(device, host, 16, TO_DEVICE, stream) == wrong
        raises(TypeError, lambda: c.cudaMemcpyAsync(device, host, 16, 1, stream))
        raises(TypeError, lambda: c.cudaMalloc(1.5))
        assert c.cudaStreamSynchronize(12345) == (E.cudaErrorInvalidResourceHandle,)
        """
    )


def test_a_graph_records_without_running_and_replays():
    run(
        """
        source, view = pinned(4)
        target, result = pinned(4)
        view[:], result[:] = 3, 0
        device = ok(c.cudaMalloc(4))
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        ok(c.cudaStreamBeginCapture(stream, c.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
        ok(c.cudaMemcpyAsync(device, source, 4, TO_DEVICE, stream))
        ok(c.cudaMemcpyAsync(target, device, 4, TO_HOST, stream))
        graph = ok(c.cudaStreamEndCapture(stream))
        executable = ok(c.cudaGraphInstantiate(graph, 0))
        ok(c.cudaGraphDestroy(graph))
        ok(c.cudaStreamSynchronize(stream))
        assert list(result) == [0] * 4
        for value in (5, 6):
            view[:] = value
            ok(c.cudaGraphLaunch(executable, stream))
            ok(c.cudaStreamSynchronize(stream))
            assert list(result) == [value] * 4
        ok(c.cudaGraphExecDestroy(executable))
        assert c.cudaGraphLaunch(executable, stream) == (E.cudaErrorInvalidResourceHandle,)
        """
    )


def test_a_capture_forbids_waiting_and_allocating():
    run(
        """
        modes, unsupported = c.cudaStreamCaptureMode, E.cudaErrorStreamCaptureUnsupported
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        for call in (lambda: c.cudaStreamSynchronize(stream), lambda: c.cudaMalloc(4), c.cudaDeviceSynchronize):
            ok(c.cudaStreamBeginCapture(stream, modes.cudaStreamCaptureModeThreadLocal))
            assert call()[0] == unsupported
            assert c.cudaStreamEndCapture(stream) == (E.cudaErrorStreamCaptureInvalidated, None)
        ok(c.cudaStreamBeginCapture(stream, modes.cudaStreamCaptureModeRelaxed))
        ok(c.cudaMalloc(4))
        ok(c.cudaStreamEndCapture(stream))
        ok(c.cudaStreamSynchronize(stream))
        """
    )


def test_another_thread_may_allocate_during_a_thread_local_capture():
    run(
        """
        import threading
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        for mode, expected in ((c.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal, E.cudaSuccess),
                               (c.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal, E(900))):
            ok(c.cudaStreamBeginCapture(stream, mode))
            found = []
            thread = threading.Thread(target=lambda: found.append(c.cudaMalloc(4)[0]))
            thread.start()
            thread.join()
            c.cudaStreamEndCapture(stream)
            assert found == [expected], found
        """
    )


def test_live_allocations_are_counted():
    run(
        """
        assert allocated() == (0, 0)
        device, (host, _) = ok(c.cudaMalloc(100)), pinned(28)
        stream = ok(c.cudaStreamCreateWithFlags(c.cudaStreamNonBlocking))
        assert allocated() == (2, 128) and live_objects()["streams"] == 1
        ok(c.cudaFree(device)); ok(c.cudaFreeHost(host)); ok(c.cudaStreamDestroy(stream))
        assert allocated() == (0, 0) and not any(live_objects().values())
        """
    )


def test_a_kernel_on_freed_memory_spoils_the_context(saved):
    run(
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
        args=[saved(conv_model())],
    )


def test_shapes_outside_the_profile_are_refused(saved):
    run(
        """
        engine = trt.Runtime(log).deserialize_cuda_engine(build(open(sys.argv[1], "rb").read()))
        context = engine.create_execution_context()
        assert not context.set_input_shape("x", (5, 3, 8, 8)) and "does not satisfy" in log.errors()[-1]
        assert [tuple(shape) for shape in engine.get_tensor_profile_shape("x", 0)] == [(n, 3, 8, 8) for n in (1, 2, 4)]
        """,
        args=[saved(conv_model())],
    )


def test_every_fault_of_a_graph_is_told(saved):
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "early"),
        helper.make_node("Cast", ["x"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"], "shifted"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "unshifted"),
        helper.make_node("LpNormalization", ["d"], ["logits"], "strange"),
    ]
    model = make_model(nodes, {"s": np.float32(1), "z": np.int8(3)})
    printed = run(
        """
        _, _, parser, parsed = parse(open(sys.argv[1], "rb").read())
        assert not parsed and len(log.errors()) == parser.num_errors
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        print(json.dumps([(e.node(), e.node_name(), e.node_operator(), e.code().name) for e in errors]))
        """,
        args=[saved(model)],
    )
    assert {tuple(fault) for fault in json.loads(printed)} == {
        (0, "early", "Relu", "UNSUPPORTED_NODE_DATATYPE"),
        (2, "shifted", "QuantizeLinear", "INVALID_NODE"),
        (3, "unshifted", "DequantizeLinear", "INVALID_NODE"),
        (4, "strange", "LpNormalization", "UNSUPPORTED_NODE"),
    }


def test_plans_of_another_version_or_gpu_are_refused_and_portable_ones_run(saved, tmp_path):
    path = saved(conv_model())
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
        run(make, args=[path, tmp_path / kind, kind])
    assert run(load, args=[tmp_path / "plain"]).strip() == "loaded"
    assert "not compatible with this version" in run(load, version="11.4", args=[tmp_path / "plain"])
    assert "incompatible device" in run(load, args=[tmp_path / "plain"], STANDIN_GPU=other)
    assert run(load, args=[tmp_path / "portable"], STANDIN_GPU=other).strip() == "loaded"
    assert run(load, version="11.4", args=[tmp_path / "portable"]).strip() == "loaded"
    assert "not compatible with this version" in run(load, version="10.3", args=[tmp_path / "portable"])
    (tmp_path / "cut").write_bytes((tmp_path / "plain").read_bytes()[:-1])
    assert "Serialization" in run(load, args=[tmp_path / "cut"])


def test_a_timing_cache_grows_and_belongs_to_a_version_and_gpu(saved, tmp_path):
    script = """
        def change(config):
            global kept
            kept = config
            data = open(sys.argv[2], "rb").read() if os.path.exists(sys.argv[2]) else b""
            cache = config.create_timing_cache(data)
            print("none" if cache is None else config.set_timing_cache(cache, ignore_mismatch=False))
            if len(data) and cache is None:
                config.set_timing_cache(config.create_timing_cache(b""), False)
        build(open(sys.argv[1], "rb").read(), change=change)
        if kept.get_timing_cache():
            open(sys.argv[2], "wb").write(kept.get_timing_cache().serialize())
        """
    path, cache = saved(conv_model()), tmp_path / "cache"
    assert run(script, args=[path, cache]).strip() == "True"
    grown = cache.read_bytes()
    assert b"version" in grown
    assert run(script, args=[path, cache]).strip() == "True"
    assert cache.read_bytes() == grown
    assert run(script, version="11.4", args=[path, cache]).strip() == "False"
    cache.write_bytes(b"garbage")
    assert run(script, args=[path, cache]).strip() == "none"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_inspector_tells_int8_convolutions_in_its_version_s_words(saved, version):
    script = "print(inspect(build(open(sys.argv[1], 'rb').read())))"
    found = json.loads(run(script, version=version, args=[saved(conv_model(quantized=True))]))
    layers = {layer["Name"]: layer for layer in found["Layers"]}
    # By hand: cast and first Q are one kernel; each Conv takes its Relu and Add; the last Relu's output stays float.
    assert [*layers][1:] == ["conv1 + act1", "conv2 + add + act2"]
    first, second = layers["conv1 + act1"], layers["conv2 + add + act2"]
    assert first["Weights"]["Type"] == "Int8"
    assert [tensor["Name"] for tensor in second["Inputs"]] == ["aq", "aq"]
    tensors = (first["Inputs"][0], first["Outputs"][0], second["Outputs"][0])
    if version == "11.4":
        assert [tensor["Datatype"] for tensor in tensors] == ["Int8", "Int8", "FP32"]
        assert found["I/O Tensors"] == [{"Name": "x"}, {"Name": "logits"}]
    else:
        layout = "Thirty-two wide channel vectorized row major Int8 format"
        assert [tensor["Format/Datatype"] for tensor in tensors] == [layout, layout, "Row major linear FP32"]
        assert found["Bindings"] == ["x", "logits"]
    assert ("Metadata" in first) == (version != "10.3")


def test_the_branch_without_qdq_takes_the_add_and_runs_last(saved):
    kernel = np.ones((3, 3, 1, 1), np.int8)
    constants = {"w8": kernel, "sw": np.ones(3, np.float32), "zw": np.zeros(3, np.int8)}
    constants |= {"s": np.float32(1), "z": np.int8(0)}
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"], "x.quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "x.dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "sw", "zw"], ["w"], "w.dequantize", axis=0),
        helper.make_node("Conv", ["d", "w"], ["main"], "conv"),
        helper.make_node("Conv", ["d", "w"], ["skip"], "downsample"),
        helper.make_node("QuantizeLinear", ["skip", "s", "z"], ["skipq"], "skip.quantize"),
        helper.make_node("DequantizeLinear", ["skipq", "s", "z"], ["skipd"], "skip.dequantize"),
        helper.make_node("Add", ["main", "skipd"], ["logits"], "add"),
    ]
    found = json.loads(
        run("print(inspect(build(open(sys.argv[1], 'rb').read())))", args=[saved(make_model(nodes, constants))])
    )
    # As NVIDIA's qat-residual engine has it: downsample first, INT8 out; then the main branch with the Add.
    assert [layer["Name"] for layer in found["Layers"]][1:] == ["downsample", "conv + add"]
    assert [tensor["Name"] for tensor in found["Layers"][2]["Inputs"]] == ["q", "skipq"]


def test_the_inspector_gives_names_alone_without_details(saved):
    script = """
        def change(config):
            config.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        print(inspect(build(open(sys.argv[1], "rb").read(), change=change)))
        """
    assert json.loads(run(script, args=[saved(conv_model())]))["Layers"] == ["__myl_Cast_myl0_0", "conv1 + act1"]


def test_a_build_reports_nested_phases_and_stops_when_it_is_told(saved):
    run(
        """
        class Monitor(trt.IProgressMonitor):
            def __init__(self, steps):
                super().__init__()
                self.steps, self.open, self.seen = steps, [], []
            def phase_start(self, phase_name, parent_phase, num_steps):
                assert (self.open[-1] if self.open else None) == parent_phase
                self.open.append(phase_name)
                self.seen.append(phase_name)
            def step_complete(self, phase_name, step):
                assert phase_name == self.open[-1]
                self.steps -= 1
                return self.steps > 0
            def phase_finish(self, phase_name):
                assert self.open.pop() == phase_name
        for steps, built in ((1000, True), (2, False)):
            monitor = Monitor(steps)
            plan = build(open(sys.argv[1], "rb").read(), change=lambda c: setattr(c, "progress_monitor", monitor))
            assert (plan is not None) == built and not monitor.open and monitor.seen[0] == "Building Engine"
        """,
        args=[saved(conv_model())],
    )


def test_without_a_gpu_the_builder_is_null_and_the_runtime_crashes():
    for gpu, status in (("none", 100), ("nodriver", 35)):
        run(f"assert c.cudaGetDeviceCount() == (E({status}), None)", STANDIN_GPU=gpu)
        run('raises(TypeError, lambda: trt.Builder(log), "factory function returned nullptr")', STANDIN_GPU=gpu)
        run("trt.Runtime(log).deserialize_cuda_engine(b'')", STANDIN_GPU=gpu, code=-signal.SIGSEGV)
    run("assert c.cudaDriverGetVersion() == (E.cudaSuccess, 0)", STANDIN_GPU="nodriver")


def test_faults_happen_when_they_are_asked_for(saved):
    path = saved(conv_model(quantized=True))
    make = "plan = build(open(sys.argv[1], 'rb').read())\n"
    run(make, args=[path], code=-signal.SIGSEGV, STANDIN_FAULT="crash-build")
    run(make, args=[path], code=-signal.SIGKILL, STANDIN_FAULT="oom-build")
    refused = 'assert plan is None and "Could not find any implementation for node" in log.errors()[-1]'
    run(make + refused, args=[path], STANDIN_FAULT="no-implementation")
    run("assert c.cudaMalloc(1) == (E.cudaErrorMemoryAllocation, None)", STANDIN_FAULT="cuda-alloc")
    assert run(make + "print(inspect(plan))", args=[path], STANDIN_FAULT="garbage-inspector").strip() == "not json"
    island = json.loads(run(make + "print(inspect(plan))", args=[path], STANDIN_FAULT="fp32-island,unknown-layer"))
    assert [layer["LayerType"] for layer in island["Layers"]] == ["kgen", "CaskConvolution", "Zebra"]
    assert island["Layers"][2]["Weights"]["Type"] == "Float"


def test_the_profiler_hears_of_every_layer_once_the_stream_was_waited_for(saved):
    run(
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
        args=[saved(conv_model())],
    )


def test_a_context_that_brings_its_own_memory_needs_it_and_a_first_run_before_a_capture(saved):
    run(
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
        args=[saved(conv_model())],
    )


def test_a_context_that_two_threads_use_at_once_says_so(saved):
    run(
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
        args=[saved(conv_model())],
    )


def test_the_workspace_limit_bounds_the_scratch_memory(saved):
    run(
        """
        def change(config):
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20)
            config.builder_optimization_level = 6
        plan = build(open(sys.argv[1], "rb").read(), change=change)
        assert "OptimizationLevel" in log.errors()[-1]
        assert trt.Runtime(log).deserialize_cuda_engine(plan).device_memory_size_v2 == 1 << 20
        """,
        args=[saved(conv_model())],
    )


def test_a_dynamic_batch_needs_a_valid_profile_and_a_network_strong_types(saved):
    run(
        """
        builder, network, parser, _ = parse(open(sys.argv[1], "rb").read())
        config = builder.create_builder_config()
        assert builder.build_serialized_network(network, config) is None
        assert "no optimization profile" in log.errors()[-1]
        profile = builder.create_optimization_profile()
        profile.set_shape("x", (2, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))
        assert not profile and config.add_optimization_profile(profile) == -1
        raises(RuntimeError, lambda: profile.set_shape("x", (2, 3), (1, 3, 8, 8), (4, 3, 8, 8)), "inconsistent")
        weak = builder.create_network(0)
        assert trt.OnnxParser(weak, log).parse(open(sys.argv[1], "rb").read())
        assert builder.build_serialized_network(weak, config) is None and "strongly typed" in log.errors()[-1]
        """,
        args=[saved(conv_model())],
    )


def test_cuda_names_and_numbers_are_those_of_the_installed_cuda_python():
    script = """
        import json, enum
        from cuda.bindings import runtime as c
        names = [n for n in dir(c) if n.startswith("cuda")]
        enums = {n: {m.name: int(m) for m in getattr(c, n)} for n in names
                 if isinstance(getattr(c, n), type) and hasattr(getattr(c, n), "__members__")}
        ints = {n: getattr(c, n) for n in names if type(getattr(c, n)) is int}
        print(json.dumps([enums, ints, [n for n in names if callable(getattr(c, n))]]))
        """
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    real = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    if real.returncode:
        pytest.skip("cuda-python is not installed")
    (enums, ints, calls), (own_enums, own_ints, own_calls) = json.loads(real.stdout), json.loads(run(script))
    assert own_enums
    for name, members in own_enums.items():
        assert {member: enums[name][member] for member in members} == members
    assert {name: ints[name] for name in own_ints} == own_ints
    assert set(own_calls) <= set(calls)


def test_cuda_texts_of_errors_are_those_of_the_installed_cuda_python():
    script = """
        from cuda.bindings import runtime as c
        for number in (0, 1, 2, 3, 4, 21, 35, 100, 101, 400, 600, 700, 719, *range(900, 909), 999):
            print(number, *(f(c.cudaError_t(number))[1].decode() for f in (c.cudaGetErrorName, c.cudaGetErrorString)))
        """
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    real = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    if real.returncode:
        pytest.skip("cuda-python is not installed")
    assert run(script).splitlines() == real.stdout.splitlines()
