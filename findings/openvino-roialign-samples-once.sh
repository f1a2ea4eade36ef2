#!/usr/bin/env bash
# OpenVINO 2026.4.1: an ONNX RoiAlign that leaves its sampling_ratio out is sampled once per bin.
#
# Expected: the default, 0: "If == 0, then an adaptive number of grid points are used (computed as ceil(roi_width /
# output_width), and likewise for height)" (ONNX, RoiAlign), as onnxruntime does. Seen: the result of sampling_ratio=1, which
# takes one point out of each bin of a large region, without a message; with sampling_ratio=0 written down it is right. A
# tool that leaves out attributes of their default value changes what the network detects.
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

random = np.random.default_rng(0)
feeds = {
    "x": random.standard_normal((1, 2, 40, 60)).astype(np.float32),
    "rois": np.array([[0, 0, 55, 38], [3, 5, 33, 36], [20.3, 10.7, 58.1, 39]], np.float32),
    "images": np.zeros(3, np.int64),
}
core = openvino.Core()


def results(opset, **attributes):
    """Return the results of onnxruntime and of OpenVINO."""
    node = helper.make_node("RoiAlign", list(feeds), ["y"], output_height=3, output_width=3, **attributes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2, 3, 3])
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [y]), opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, feeds)[0], compiled(list(feeds.values()))[0]


def same(first, second):
    return np.allclose(first, second, atol=1e-4)


print(*(f"{name} {version(name)}" for name in ("openvino", "onnx", "onnxruntime")))
seen = []
for opset in (10, 16):
    adaptive, written = results(opset, sampling_ratio=0)
    once = results(opset, sampling_ratio=1)[0]
    theirs, left_out = results(opset)
    print(f"opset {opset}: sampling_ratio=0: onnxruntime {adaptive[0, 0, 0]}, OpenVINO {written[0, 0, 0]}")
    print(f"opset {opset}: left out:         onnxruntime {theirs[0, 0, 0]}, OpenVINO {left_out[0, 0, 0]}")
    seen += [same(adaptive, written), same(theirs, adaptive), same(left_out, once), not same(left_out, adaptive)]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
