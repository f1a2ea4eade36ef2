#!/usr/bin/env bash
# OpenCV 5.0.0.93: a network read from memory is run by the new engine, whichever engine was asked for.
#
# Expected: readNetFromONNX(buffer, ENGINE_CLASSIC) gives the classic engine, as readNetFromONNX(file, ENGINE_CLASSIC)
# does and as its documentation says; only the classic one has other back ends than the CPU's. Seen, without a message:
# it gives the new one, and so does readNet("onnx", buffer, engine=ENGINE_CLASSIC). The names of the layers tell the
# engines apart, and so does an average pool with padding, which the two compute differently.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import cv2
import numpy as np
import onnx
from cv2.dnn import readNet, readNetFromONNX
from onnx import TensorProto, helper

x = np.ones((1, 1, 4, 4), np.float32)
pool = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
graph = helper.make_graph([pool], "g", tensors[:1], tensors[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "net.onnx")
buffer = np.fromfile("net.onnx", np.uint8)
READERS = {
    "readNetFromONNX(file)": lambda engine: readNetFromONNX("net.onnx", engine=engine),
    "readNetFromONNX(buffer)": lambda engine: readNetFromONNX(buffer, engine=engine),
    "readNet(file)": lambda engine: readNet("net.onnx", engine=engine),
    "readNet(buffer)": lambda engine: readNet("onnx", buffer, engine=engine),
}

print(*(f"{name} {version(name)}" for name in ("opencv-python-headless", "onnx")))
seen = {}
for engine in ("ENGINE_CLASSIC", "ENGINE_NEW"):
    for reader, read in READERS.items():
        net = read(getattr(cv2.dnn, engine))
        net.setInput(x)
        corner = round(float(net.forward()[0, 0, 0, 0]), 3)
        seen[engine, reader] = (tuple(net.getLayerNames()), corner)
        print(f"{reader} with {engine}: layers {', '.join(net.getLayerNames())}; corner of the average: {corner}")
classic, new = (seen[engine, "readNetFromONNX(file)"] for engine in ("ENGINE_CLASSIC", "ENGINE_NEW"))
same = classic[0] != new[0] and (classic[1], new[1]) == (1, 0.444)
for (engine, reader), result in seen.items():
    same &= result == (classic if engine == "ENGINE_CLASSIC" and "file" in reader else new)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
