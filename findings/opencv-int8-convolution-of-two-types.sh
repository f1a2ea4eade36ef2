#!/usr/bin/env bash
# OpenCV 5.0.0.93: of eighteen ways to put Q/DQ around one convolution, four are refused with a failed assertion.
#
# Expected: a valid ONNX graph with Q/DQ is run, in integers or in floats, as onnxruntime runs it. Seen: OpenCV makes an
# integer convolution of Q/DQ -> Conv -> Q/DQ, and refuses the graph where its input is UINT8 and its output INT8, or the
# other way round, with "inputs[0] == inputs[2]", unless a ReLU or a max pool stands between. Where the output stays
# float and a max pool follows, the pool is made an integer one without integers before it: "inptype == CV_8SC1".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet \
  opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.32.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import itertools
import re
import sys

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

KINDS = {"UINT8": np.uint8, "INT8": np.int8}


def network(before, after, between):
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-90, 90, (4, 3, 3, 3)).astype(np.int8),
        "w_scale": np.full(4, 0.01, np.float32),
        "w_zero": np.zeros(4, np.int8),
        "x_scale": np.float32(0.02),
        "x_zero": KINDS[before](0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["conv"], pads=[1] * 4, kernel_shape=[3, 3]),
    ]
    last, side = "conv", 8
    if between == "ReLU":
        nodes.append(helper.make_node("Relu", [last], ["relu"]))
        last = "relu"
    if between == "MaxPool":
        nodes.append(helper.make_node("MaxPool", [last], ["pool"], kernel_shape=[2, 2], strides=[2, 2]))
        last, side = "pool", 4
    if after != "float":
        constants |= {"y_scale": np.float32(0.1), "y_zero": KINDS[after](0)}
        nodes += [
            helper.make_node("QuantizeLinear", [last, "y_scale", "y_zero"], ["yq"]),
            helper.make_node("DequantizeLinear", ["yq", "y_scale", "y_zero"], ["yd"]),
        ]
        last = "yd"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, side, side])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


x = np.random.default_rng(1).random((1, 3, 8, 8), dtype=np.float32) * 2
refused = []
print("OpenCV", cv2.__version__)
for before, after, between in itertools.product(KINDS, ("float", *KINDS), ("nothing", "ReLU", "MaxPool")):
    onnx.save(network(before, after, between), "net.onnx")
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    shape = session.run(None, {"x": x})[0].shape
    try:
        net = cv2.dnn.readNetFromONNX("net.onnx")
        net.setInput(x)
        seen = "run" if net.forward().shape == shape else "another shape"
    except cv2.error as error:
        seen = "refused: " + re.search(r"Assertion failed\) (.*)", str(error))[1]
        refused.append((before, after, between))
    print(f"{before} in, {after} out, {between} between: {seen}")
same = refused == [
    ("UINT8", "float", "MaxPool"),
    ("UINT8", "INT8", "nothing"),
    ("INT8", "float", "MaxPool"),
    ("INT8", "UINT8", "nothing"),
]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
