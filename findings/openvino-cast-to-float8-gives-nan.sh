#!/usr/bin/env bash
# OpenVINO 2026.4.1: a Cast to FLOAT8E4M3FN turns values above 464 into NaN, where ONNX says 448.
#
# Expected: Cast has the attribute `saturate`, 1 where it is not given, and with it a value beyond the range becomes the
# largest one, 448, as in onnxruntime and in onnx's reference. Seen: NaN, for infinity too; a QuantizeLinear to the same
# type saturates in OpenVINO as well.
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
from onnx.reference import ReferenceEvaluator

VALUES = np.array([[1, 447, 448, 464, 470, 500, 1e4, -1e4, np.inf]], np.float32)


def model(nodes, inits=()):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(VALUES.shape)) for name in "xy"]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], list(inits))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


cast = model([
    helper.make_node("Cast", ["x"], ["q"], to=TensorProto.FLOAT8E4M3FN),
    helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
])
quantise = model(
    [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["y"]),
    ],
    [
        numpy_helper.from_array(np.float32(1), "one"),
        helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0]),
    ],
)
core = openvino.Core()


def by_openvino(made):
    return core.compile_model(core.read_model(made), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(VALUES)[0][0]


wanted = onnxruntime.InferenceSession(cast, providers=["CPUExecutionProvider"]).run(None, {"x": VALUES})[0][0]
assert (ReferenceEvaluator(onnx.load_from_string(cast)).run(None, {"x": VALUES})[0][0] == wanted).all()
casted, quantised = by_openvino(cast), by_openvino(quantise)
print("openvino", openvino.__version__)
print("values:                   ", VALUES[0].tolist())
print("Cast, onnxruntime:        ", wanted.tolist())
print("Cast, OpenVINO:           ", casted.tolist())
print("QuantizeLinear, OpenVINO: ", quantised.tolist())
seen = (
    (np.isnan(casted) == (abs(VALUES[0]) > 464)).all() and (casted[:4] == wanted[:4]).all()
    and (quantised == wanted).all()
)
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
