#!/usr/bin/env bash
# MNN 3.6.1: a bicubic ONNX Resize has a wrong first row and column, and its coefficient and nearest_mode are ignored.
#
# Expected: what ONNX's formula gives, as onnxruntime does. Seen: of a ramp 0, 1, 2, … made twice as large by mode=cubic the
# first value is 0.67 for -0.11, that of the third place; so is the whole first column of any picture, and the first row.
# cubic_coeff_a=-0.5, which is Pillow's, gives the result of -0.75, and nearest_mode=ceil that of the default.
# "Converted Success!" says the converter. Linear and nearest resizing by the defaults are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet MNN==3.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import subprocess
import sys
from importlib.metadata import version

import MNN.expr as expr
import MNN.nn as nn
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIZE = 8
ramp = np.tile(np.arange(SIZE, dtype=np.float32), (1, 1, SIZE, 1))
noise = np.random.default_rng(0).random((1, 1, SIZE, SIZE), np.float32)


def both(x, **attributes):
    """Return the results of onnxruntime and of MNN of a Resize to twice the size, (2 SIZE, 2 SIZE)."""
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **attributes)
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    shapes = (("x", x.shape), ("y", (1, 1, 2 * SIZE, 2 * SIZE)))
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "net.onnx")
    convert = ["mnnconvert", "-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", "net.mnn", "--bizCode", "x"]
    assert "Converted Success!" in subprocess.run(convert, capture_output=True, text=True, check=True).stdout
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    module = nn.load_module_from_file("net.mnn", ["x"], ["y"])
    got = module.forward([expr.const(x, x.shape, expr.NCHW, expr.float)])[0]
    return session.run(None, {"x": x})[0][0, 0], np.array(got.read()).reshape(2 * SIZE, 2 * SIZE)


def same(first, second):
    return np.allclose(first, second, atol=1e-4)


print(*(f"{name} {version(name)}" for name in ("MNN", "onnx", "onnxruntime")))
seen = []
for name, x in (("ramp", ramp), ("noise", noise)):
    right, got = both(x, mode="cubic")
    print(f"cubic, {name}: onnxruntime", right[5, :4].round(2), "MNN", got[5, :4].round(2))
    seen += [same(got[1:, 1:], right[1:, 1:]), same(got[1:, 0], right[1:, 2]), not same(got[1:, 0], right[1:, 0])]
sharp, got = both(noise, mode="cubic", cubic_coeff_a=-0.5)
print("cubic_coeff_a=-0.5 gives the result of -0.75:", same(got[1:, 1:], right[1:, 1:]))
seen += [same(got[1:, 1:], right[1:, 1:]), not same(sharp[1:, 1:], right[1:, 1:])]
default = both(ramp, mode="nearest")
ceiling = both(ramp, mode="nearest", nearest_mode="ceil")
print("nearest_mode=ceil: onnxruntime", ceiling[0][5, :6], "MNN", ceiling[1][5, :6])
seen += [same(*default), same(ceiling[1], default[1]), not same(*ceiling), same(*both(noise, mode="linear"))]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
