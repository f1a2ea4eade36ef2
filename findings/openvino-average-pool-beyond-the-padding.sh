#!/usr/bin/env bash
# OpenVINO 2026.4.1: average pools of PyTorch with ceil_mode=True are divided by too much at the far edges.
#
# Expected: of AvgPool2d(3, stride=2, padding=1, ceil_mode=True), whose count_include_pad is True, a window that reaches
# beyond the padding is divided by the places inside picture and padding alone, as PyTorch, onnxruntime and onnx's
# reference do. Seen: by 9, so that of a picture of ones the last row is 1/3 for 1/2 and its corner 1/9 for 1/4, without a
# message. With count_include_pad=0, without padding, or without ceil_mode it is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

ones = np.ones((1, 1, 14, 14), np.float32)
core = openvino.Core()


def pool(opset, **attributes):
    """Return an average pool of 3x3 with stride 2 as a checked model."""
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], **attributes)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ones.shape), ("y", None))]
    model = helper.make_model(
        helper.make_graph([node], "g", tensors[:1], tensors[1:]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9,
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def of_each(model):
    """Return the last row of onnxruntime, of onnx's reference and of OpenVINO."""
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = session.run(None, {"x": ones})[0], ReferenceEvaluator(model).run(None, {"x": ones})[0], compiled(ones)[0]
    return [np.round(result[0, 0, -1], 3) for result in results]


print(*(f"{name} {version(name)}" for name in ("openvino", "onnx", "onnxruntime")))
seen = []
for opset in (17, 19):
    for attributes, right in (
        ({"ceil_mode": 1, "pads": [1] * 4, "count_include_pad": 1}, False),
        ({"ceil_mode": 1, "pads": [1] * 4, "count_include_pad": 0}, True),
        ({"ceil_mode": 1, "count_include_pad": 1}, True),
        ({"pads": [1] * 4, "count_include_pad": 1}, True),
    ):
        theirs, reference, ours = of_each(pool(opset, **attributes))
        print(f"opset {opset}, {attributes}: last row")
        for name, row in (("onnxruntime", theirs), ("OpenVINO", ours)):
            print(f"  {name:11}", *(f"{value:.3f}" for value in row))
        seen.append((theirs == reference).all() and np.array_equal(theirs, ours) == right)
        if not right:
            seen.append((theirs[0], theirs[-1], ours[0], ours[-1]) == tuple(np.float32([0.333, 0.25, 0.222, 0.111])))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
