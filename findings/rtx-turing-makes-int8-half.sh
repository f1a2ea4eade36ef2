#!/usr/bin/env bash
# TensorRT for RTX 1.7.1.116: compute capabilities of a plan change the precision of its INT8 convolutions.
#
# Expected: a strongly typed network with INT8 Q/DQ around a convolution computes it in INT8 on each GPU that has INT8,
# or the build says that it does not. Seen: with Ampere alone the convolution reads Int8; with Turing (SM75) added it
# reads Half in the one plan that Ampere loads too, and the log has no warning. Needs no GPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
  tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 onnx==1.22.0 numpy
"$work/venv/bin/python" - <<'PYTHON'
import re
import sys

import numpy as np
import onnx
import tensorrt_rtx_bindings as trt
from onnx import TensorProto, helper, numpy_helper


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.messages = []

    def log(self, severity, text):
        self.messages.append((severity, text))


def graph():
    weight = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float16)
    constants = [
        ("step", np.float16(0.05)), ("zero", np.int8(0)), ("weight", weight),
        ("steps", np.full(64, 0.03, np.float16)), ("zeros", np.zeros(64, np.int8)),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dq"]),
        helper.make_node("QuantizeLinear", ["weight", "steps", "zeros"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "steps", "zeros"], ["wdq"], axis=0),
        helper.make_node("Conv", ["dq", "wdq"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, 64, 32, 32]) for name in "xy"]
    inits = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    model = helper.make_model(
        helper.make_graph(nodes, "g", tensors[:1], tensors[1:], inits),
        opset_imports=[helper.make_opsetid("", 20)], ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def build(capabilities):
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    assert parser.parse(graph())
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        assert config.set_compute_capability(capability, index)
    assert builder.build_serialized_network(network, config) is not None
    layers = next(text for _, text in log.messages if text.startswith("Layers:"))
    conv = next(line for line in layers.splitlines() if "LayerType: correlation" in line)
    reads = re.search(r"Inputs: \[ \{ Name: \S+, .*?Datatype: (\w+)", conv)[1]
    warnings = [text for level, text in log.messages if level == trt.ILogger.Severity.WARNING]
    return reads, warnings


ampere, both = build([trt.ComputeCapability.SM86]), build([trt.ComputeCapability.SM75, trt.ComputeCapability.SM86])
print("version", trt.__version__)
print("for SM86:          the convolution reads", ampere[0], "- warnings:", ampere[1])
print("for SM75 and SM86: the convolution reads", both[0], "- warnings:", both[1])
sys.exit(0 if (ampere[0], both[0], both[1]) == ("Int8", "Half", []) else "the behaviour has changed")
PYTHON
