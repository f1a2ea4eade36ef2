#!/usr/bin/env bash
# OpenVINO 2026.4.1: ReduceLogSumExp, ReduceLogSum and ReduceL1 of ONNX opset 13 to 17 reduce all axes, whatever `axes` says.
#
# Expected: "axes: A list of integers, along which to reduce" (ONNX, ReduceLogSumExp, opset 13), as onnxruntime and onnx's
# reference do. Seen: the attribute is ignored, and of a batch of logits there is one number for all images, without a message;
# with keepdims=1 it has as many dimensions as the right result and broadcasts in what follows, so that x - logsumexp(x)
# is wrong and has its shape. The other reductions, and these three of opset 11 and 18, are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

IGNORED = {"ReduceLogSumExp", "ReduceLogSum", "ReduceL1"}
BY_HAND = {
    "ReduceLogSumExp": lambda x, axis: np.log(np.exp(x).sum(axis, keepdims=True)),
    "ReduceLogSum": lambda x, axis: np.log(x.sum(axis, keepdims=True)),
    "ReduceL1": lambda x, axis: np.abs(x).sum(axis, keepdims=True),
    "ReduceL2": lambda x, axis: np.sqrt((x**2).sum(axis, keepdims=True)),
    "ReduceMax": lambda x, axis: x.max(axis, keepdims=True),
}
logits = np.random.default_rng(0).random((3, 10), np.float32) * 5
core = openvino.Core()


def network(operator, opset):
    """Return x - reduce(x, axis 1) as a checked model."""
    inputs, attributes, constants = ["x"], {"axes": [1]}, []
    if opset == 18:
        inputs, attributes = ["x", "axes"], {}
        constants = [numpy_helper.from_array(np.array([1]), "axes")]
    nodes = [helper.make_node(operator, inputs, ["r"], **attributes), helper.make_node("Sub", ["x", "r"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, logits.shape) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], constants), opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


print(*(f"{name} {version(name)}" for name in ("openvino", "onnx", "onnxruntime")))
seen = []
for opset in (11, 13, 17, 18):
    for operator, by_hand in BY_HAND.items():
        data = network(operator, opset)
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        right = logits - by_hand(logits, 1)
        assert np.allclose(session.run(None, {"x": logits})[0], right, atol=1e-4)
        got = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(logits)[0]
        of_all = np.allclose(got, logits - by_hand(logits, None), atol=1e-4)
        print(f"opset {opset}, {operator} of axis 1: {'reduces the batch too' if of_all else 'right'}")
        seen.append(of_all == (operator in IGNORED and opset in (13, 17)) and (of_all or np.allclose(got, right, atol=1e-4)))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
