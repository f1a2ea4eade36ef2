#!/usr/bin/env bash
# MNN 3.6.1: one QuantizeLinear and DequantizeLinear with a scale for the whole tensor swap batch and channels.
#
# Expected: a pair with one scale rounds values and leaves the shape alone, or the converter refuses it. Seen: mnnconvert
# says "Converted Success!", and in the converted network the convolution behind the pair gets (C, N, H, W) for
# (N, C, H, W). With three images of three channels the result is that of other images, without a word. With one image it
# returns an empty list and prints a line. Q/DQ of the weights alone, with a scale for each channel, is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet MNN==3.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy 2>/dev/null
cd "$work"
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" - <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def network(images, activations, weights):
    values = np.random.default_rng(0).integers(-90, 90, (4, 3, 3, 3))
    constants, nodes, source = {}, [], "x"
    if activations:
        constants |= {"x_scale": np.float32(0.02), "x_zero": np.int8(0)}
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        ]
        source = "xd"
    if weights:
        constants |= {"w": values.astype(np.int8), "w_scale": np.full(4, 0.01, np.float32), "w_zero": np.zeros(4, np.int8)}
        nodes.append(helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], axis=0))
    else:
        constants["wd"] = (values * 0.01).astype(np.float32)
    nodes.append(helper.make_node("Conv", [source, "wd"], ["y"], pads=[1] * 4, kernel_shape=[3, 3]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [images, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [images, 4, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def outcome(images, activations, weights):
    onnx.save(network(images, activations, weights), "net.onnx")
    convert = ["mnnconvert", "-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", "net.mnn", "--bizCode", "x"]
    said = subprocess.run(convert, capture_output=True, text=True, check=True).stdout
    assert "Converted Success!" in said
    x = np.random.default_rng(1).random((images, 3, 8, 8), dtype=np.float32) * 2
    outputs = nn.load_module_from_file("net.mnn", ["x"], ["y"]).forward([expr.const(x, x.shape, expr.NCHW, expr.float)])
    if not outputs:
        return "an empty list"
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    y = np.array(outputs[0].read())
    if np.allclose(y, session.run(None, {"x": x})[0], atol=1e-4):
        return "right"
    swapped = session.run(None, {"x": np.ascontiguousarray(x.transpose(1, 0, 2, 3))})[0]
    return "of batch and channels swapped" if np.allclose(y, swapped, atol=1e-4) else "something else"


cases = [(1, False, True), (3, False, True), (1, True, False), (3, True, False), (3, True, True)]
seen = [outcome(*case) for case in cases]
print("MNN", version("MNN"))
for (images, activations, weights), result in zip(cases, seen):
    what = " and ".join(word for word, there in (("activations", activations), ("weights", weights)) if there)
    print(f"{images} image(s), Q/DQ of {what}: {result}")
same = seen == ["right", "right", "an empty list", "of batch and channels swapped", "of batch and channels swapped"]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
