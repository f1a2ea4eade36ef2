#!/usr/bin/env bash
# OpenVINO 2026.4.1: Resize of ONNX loses `antialias` and `exclude_outside` without a message.
#
# Expected: the attributes of opset 18 are followed, or the model is refused. Seen: with antialias=1 the result is that of
# antialias=0, for linear and for cubic, so that a picture made small in the network is a sharper one than in
# onnxruntime; with exclude_outside=1 it is that of exclude_outside=0.
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

picture = np.random.default_rng(0).random((1, 3, 40, 40), np.float32)
core = openvino.Core()


def resized(**attributes):
    """Return the picture made 16 x 16 by onnxruntime, by onnx's reference and by OpenVINO."""
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    tensors = [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 16, 16])]
    graph = helper.make_graph([node], "g", tensors, outputs, [numpy_helper.from_array(np.array([1, 3, 16, 16]), "sizes")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, {"x": picture})[0], ReferenceEvaluator(model).run(None, {"x": picture})[0], compiled(picture)[0]


print(*(f"{name} {version(name)}" for name in ("openvino", "onnx", "onnxruntime")))
seen = []
for mode in ("linear", "cubic"):
    for option in ("antialias", "exclude_outside"):
        if (mode, option) == ("linear", "exclude_outside"):
            continue
        _, _, plain = resized(mode=mode)
        theirs, reference, ours = resized(mode=mode, **{option: 1})
        apart, agreed = abs(ours - theirs).max(), abs(reference - theirs).max()
        same = abs(ours - plain).max()
        print(f"{mode}, {option}=1: OpenVINO to onnxruntime {apart:.3f}, onnx's reference to onnxruntime {agreed:.1e}")
        print(f"  OpenVINO to OpenVINO with {option}=0: {same:.1e}")
        seen.append(apart > 0.02 and agreed < 1e-5 and same == 0)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
