#!/usr/bin/env bash
# OpenVINO 2026.4.1: a QuantizeLinear with an odd zero point rounds every tie to the other side.
#
# Expected: ONNX divides by the scale, rounds ties to the even step, and adds the zero point afterwards, so that a zero
# point never decides how a value is rounded. Seen: with the zero points 0 and 128 OpenVINO does so too; with 3 and 113
# each value half-way between two steps goes to the other one, as the zero point is added before the rounding. onnxruntime
# follows the definition. Calibrated unsigned activations have an odd zero point as often as an even one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

SCALE = np.float32(0.5)
# Ties, two values that are none, and one that is a step itself.
VALUES = np.array([[-1.25, -0.75, -0.25, 0.0, 0.25, 0.3, 0.7, 0.75, 1.25]], np.float32)


def model(zero_point):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(VALUES.shape)) for name in "xy"]
    inits = [numpy_helper.from_array(np.asarray(SCALE), "scale"), numpy_helper.from_array(np.asarray(zero_point), "zero")]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], inits)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


core, differ = openvino.Core(), {}
print("openvino", openvino.__version__)
print("values:             ", VALUES[0].tolist())
for zero_point in (np.int8(0), np.int8(3), np.uint8(128), np.uint8(113)):
    made = model(zero_point)
    # ONNX's definition. No value is near the ends of the range.
    wanted = (np.rint(VALUES / SCALE) * SCALE)[0]
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": VALUES})[0][0].tolist() == wanted.tolist()
    compiled = core.compile_model(core.read_model(made), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = compiled(VALUES)[0][0]
    differ[int(zero_point)] = VALUES[0][got != wanted].tolist()
    print(f"{zero_point.dtype} zero point {zero_point}: {got.tolist()}")
ties = [-1.25, -0.75, -0.25, 0.25, 0.75, 1.25]
sys.exit(0 if differ == {0: [], 3: ties, 128: [], 113: ties} else "the behaviour has changed")
PYTHON
