"""Scripts for processes that import the stand-in, and small models for them."""

import subprocess
import sys
import textwrap

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tensorrt_bindings.standin import RTX, standin_environment

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


def run_script(script, *, version="10.16", args=(), code=0, **env):
    """Return what a script prints with the stand-in imported; the process must end with `code`."""
    prelude = PRELUDE.replace("import tensorrt as", "import tensorrt_rtx as") if version == RTX else PRELUDE
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(script), *map(str, args)],
        env=standin_environment(version, **env),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout


def conv_model(quantized=False):
    """Return Cast, Conv, Relu on (n, 3, 8, 8) uint8; or with Q/DQ, a second Conv and a residual Add behind it."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    cast = helper.make_node("Cast", ["x"], ["xf"], "cast", to=TensorProto.FLOAT)
    if not quantized:
        convolution = helper.make_node("Conv", ["xf", "w"], ["y"], "conv1", pads=[1, 1, 1, 1])
        return make_model([cast, convolution, helper.make_node("Relu", ["y"], ["logits"], "act1")], {"w": weight})
    scales = np.abs(weight).max((1, 2, 3)) / 127
    constants = {
        "w8": np.rint(weight / scales[:, None, None, None]).astype(np.int8),
        "w28": random.integers(-127, 128, (4, 4, 1, 1)).astype(np.int8),
        "sw": scales,
        "zw": np.zeros(4, np.int8),
        "s": np.float32(2),
        "so": np.float32(20),
        "z": np.int8(0),
    }
    nodes = [
        cast,
        helper.make_node("QuantizeLinear", ["xf", "s", "z"], ["xq"], "x.quantize"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "x.dequantize"),
        helper.make_node("DequantizeLinear", ["w8", "sw", "zw"], ["w"], "w.dequantize", axis=0),
        helper.make_node("Conv", ["xd", "w"], ["y"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["a"], "act1"),
        helper.make_node("QuantizeLinear", ["a", "so", "z"], ["aq"], "a.quantize"),
        helper.make_node("DequantizeLinear", ["aq", "so", "z"], ["ad"], "a.dequantize"),
        helper.make_node("DequantizeLinear", ["w28", "sw", "zw"], ["w2"], "w2.dequantize", axis=0),
        helper.make_node("Conv", ["ad", "w2"], ["y2"], "conv2"),
        helper.make_node("Add", ["y2", "ad"], ["sum"], "add"),
        helper.make_node("Relu", ["sum"], ["logits"], "act2"),
    ]
    return make_model(nodes, constants)


def make_model(nodes, constants):
    """Return a model from `x`, (n, 3, 8, 8) uint8, to `logits`, with types and shapes inferred."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def write_model(folder, model):
    """Write a model into a folder and return its path."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path
