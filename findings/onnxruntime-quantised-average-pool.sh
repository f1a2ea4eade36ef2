#!/usr/bin/env bash
# onnxruntime 1.32.0: optimising a Q/DQ network changes the edges of an AveragePool with ceil_mode and count_include_pad.
#
# Expected: what PyTorch's AvgPool2d(2, 2, ceil_mode=True) gives, whose count_include_pad is on by default: a window that
# reaches beyond the picture and its padding is divided by the part inside (ONNX's AveragePool from opset 19 on says so, and
# onnxruntime's own float kernel does so for every opset). Worked by NumPy. Seen: with graph optimisations, which are on by
# default, the pool between DequantizeLinear and QuantizeLinear becomes a QLinearAveragePool, which divides by the whole
# window: of a picture of 7 x 7 ones the last row and column are 0.5 and the corner is a quarter. UINT8 and INT8, opset 13 to
# 22. Without optimisations, without ceil_mode, and with count_include_pad=0, all is right to one step.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import GraphOptimizationLevel as Level

random = np.random.default_rng(0)
step = np.float32(0.02)


def averaged(picture, kernel, stride, pad, ceil, include):
    """Return the average pool of (1, C, N, N), worked by the rule of PyTorch and ONNX 19."""
    size = picture.shape[2]
    count = (size + 2 * pad - kernel + (stride - 1) * ceil) // stride + 1
    count -= (count - 1) * stride >= size + pad
    pooled = np.zeros((*picture.shape[:2], count, count))
    for row, column in np.ndindex(count, count):
        spans = [(at * stride - pad, min(at * stride - pad + kernel, size + pad)) for at in (row, column)]
        inside = picture[:, :, *(slice(max(first, 0), min(last, size)) for first, last in spans)]
        area = np.prod([last - first for first, last in spans]) if include else np.prod(inside.shape[2:])
        pooled[:, :, row, column] = inside.sum(axis=(2, 3)) / area
    return pooled


def outputs(picture, opset, zero, kernel, stride, pad, ceil, include):
    """Return the pool of a Q/DQ network without and with graph optimisations."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node(
            "AveragePool",
            ["d"],
            ["p"],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            ceil_mode=ceil,
            count_include_pad=include,
        ),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    shapes = {"x": picture.shape, "y": ["n", "c", "h", "w"]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    values = [numpy_helper.from_array(step, "s"), numpy_helper.from_array(zero, "z")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        yield session.run(None, {"x": picture})[0]


print(*(f"{name} {version(name)}" for name in ("onnxruntime", "onnx")))
plain, optimised = outputs(np.ones((1, 1, 7, 7), np.float32), 17, np.uint8(0), 2, 2, 0, 1, 1)
print("ones, without optimisations:", plain[0, 0, -1].tolist(), "with:", optimised[0, 0, -1].round(2).tolist())
seen = [bool(np.allclose(plain, 1)), bool(np.allclose(optimised[0, 0, -1], [0.5, 0.5, 0.5, 0.25], atol=0.021))]
# Kernel, stride, padding, ceil_mode, count_include_pad, size; whether the last window reaches beyond the padding.
pools = {(2, 2, 0, 1, 1, 7): True, (3, 2, 1, 1, 1, 8): True, (2, 2, 0, 1, 0, 7): False, (3, 2, 1, 0, 1, 8): False}
for opset in (13, 22):
    for zero in (np.uint8(128), np.int8(0)):
        for (*pool, size), wrong in pools.items():
            picture = random.integers(-60, 100, (1, 8, size, size)).astype(np.float32) * step
            right = averaged(picture.astype(np.float64), *pool)
            off = [np.abs(got - right) / step for got in outputs(picture, opset, zero, *pool)]
            texts = ", ".join(f"{steps.max():.1f}" for steps in off)
            print(f"opset {opset}, {zero.dtype}, kernel, stride, padding, ceil, include {pool}: steps off {texts}")
            seen += [off[0].max() <= 1, off[1][:, :, :-1, :-1].max() <= 1, (off[1].max() > 4) == wrong]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
