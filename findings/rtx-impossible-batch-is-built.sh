#!/usr/bin/env bash
# TensorRT for RTX 1.7.1.116: a plan is built for a batch that no tensor can hold.
#
# Expected: a build fails whose profile cannot be executed. Seen: the profile's values are called inconsistent in a
# message of level WARNING, a tensor's volume being over the limit, and a plan comes back all the same. Needs no GPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
  tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 onnx==1.22.0 numpy
"$work/venv/bin/python" - <<'PYTHON'
import sys

import onnx
import tensorrt_rtx_bindings as trt
from onnx import TensorProto, helper


class Log(trt.ILogger):
    def __init__(self):
        super().__init__()
        self.messages = []

    def log(self, severity, text):
        self.messages.append((severity, text))


nodes = [helper.make_node("Relu", ["x"], ["h"], name="relu"), helper.make_node("Neg", ["h"], ["y"], name="neg")]
tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64, 128, 128]) for name in "xy"]
model = helper.make_model(
    helper.make_graph(nodes, "g", tensors[:1], tensors[1:]), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
)
onnx.checker.check_model(model, full_check=True)
log = Log()
builder = trt.Builder(log)
network = builder.create_network(0)
parser = trt.OnnxParser(network, log)
assert parser.parse(model.SerializeToString())
config = builder.create_builder_config()
profile = builder.create_optimization_profile()
# 64 x 128 x 128 x 10,000,000 elements are ten times 2 ** 40.
profile.set_shape("x", (1, 64, 128, 128), (8, 64, 128, 128), (10_000_000, 64, 128, 128))
config.add_optimization_profile(profile)
plan = builder.build_serialized_network(network, config)
told = [(level.name, text) for level, text in log.messages if "not self-consistent" in text]
print("version", trt.__version__)
print("plan:", "none" if plan is None else f"{plan.nbytes:,} bytes")
for level, text in told:
    print(f"{level}: {text}")
sys.exit(0 if plan is not None and {level for level, _ in told} == {"WARNING"} else "the behaviour has changed")
PYTHON
