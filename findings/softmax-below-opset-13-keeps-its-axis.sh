#!/usr/bin/env bash
# OpenVINO 2026.4.1 and onnx 1.23.2: a Softmax below opset 13 is computed as one of opset 13.
#
# Expected: up to opset 12 "input will be coerced into a 2-dimensional tensor" at `axis`, 1 by default, so that a Softmax of
# (N, C, H, W) sums to 1 over all of an image's C x H x W values, as in onnxruntime. Seen: OpenVINO normalises along `axis`
# alone for Softmax of opset 11 and 12, and does it right up to opset 10 and for LogSoftmax; onnx's reference does so for
# Softmax, LogSoftmax and Hardmax of every opset below 13, and takes the last axis by default. The probabilities look like
# probabilities, and there is no message. For (N, C), and for C classes of one pixel with axis 1, the two are the same.
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
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
core = openvino.Core()


def softmax(values, axis):
    """Return the softmax over one axis or several."""
    return np.exp(values) / np.exp(values).sum(axis, keepdims=True)


# Over all values of an image, over an axis: what each could be.
RULES = {"all of an image": softmax(x, (1, 2, 3)), "axis 1": softmax(x, 1), "the last axis": softmax(x, 3)}


def rule(result, operator):
    """Return the name of the rule that a result follows."""
    for name, values in RULES.items():
        if np.allclose(result, np.log(values) if operator == "LogSoftmax" else values, atol=1e-5):
            return name
    return "none"


print(*(f"{name} {version(name)}" for name in ("openvino", "onnx", "onnxruntime")))
seen = []
for opset in (10, 11, 12, 13):
    for operator in ("Softmax", "LogSoftmax"):
        for attributes in ({"axis": 1}, {}):
            node = helper.make_node(operator, ["x"], ["y"], **attributes)
            tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
            graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
            onnx.checker.check_model(model, full_check=True)
            data = model.SerializeToString()
            session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
            compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            results = session.run(None, {"x": x})[0], compiled(x)[0], ReferenceEvaluator(model).run(None, {"x": x})[0]
            theirs, intel, reference = (rule(result, operator) for result in results)
            print(f"opset {opset}, {operator} {attributes}: onnxruntime {theirs}; OpenVINO {intel}; onnx's reference {reference}")
            along = "axis 1" if attributes else "the last axis"
            right = along if opset == 13 else "all of an image"
            wrong = operator == "Softmax" and opset in (11, 12)
            seen.append((theirs, intel, reference) == (right, "axis 1" if wrong else right, along))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
