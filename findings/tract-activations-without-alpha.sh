#!/usr/bin/env bash
# tract 0.23.9: Celu and Swish leave their alpha out, and GlobalLpPool divides by the number of pixels.
#
# Expected: "max(0,x) + min(0,alpha*(exp(x/alpha)-1))" (ONNX, Celu), "x * sigmoid(alpha * x)" (Swish), and of GlobalLpPool
# the p-norm of a channel, all as onnxruntime or the formula have it. Seen: Celu is max(0,x) + min(0,exp(x/alpha)-1), so that with
# alpha = 2 every negative value is half of what it should be; Swish takes alpha for 1; GlobalLpPool is
# mean(x^p)^(1/p): by a factor of 56 too small for 56 x 56 pixels and p = 2, and NaN for p = 3 where that mean is negative.
# There is no message; alpha = 1 is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet tract==0.23.9 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import tract
from onnx import TensorProto, helper

x = np.random.default_rng(0).standard_normal((1, 2, 56, 56)).astype(np.float32)


def celu(alpha, factor):
    return np.maximum(0, x) + np.minimum(0, factor * (np.exp(x / alpha) - 1))


def norm(power):
    return (np.abs(x) ** power).sum((2, 3), keepdims=True) ** (1 / power)


def root_of_mean(power):
    """Return what tract gives, NaN where the mean is negative."""
    with np.errstate(invalid="ignore"):
        return (x.astype(np.float64) ** power).mean((2, 3), keepdims=True) ** (1 / power)


# Operator, its opset, its attributes, the right result, and what tract gives.
CASES = (
    ("Celu", 12, {"alpha": 1.0}, celu(1.0, 1.0), celu(1.0, 1.0)),
    ("Celu", 12, {"alpha": 0.5}, celu(0.5, 0.5), celu(0.5, 1.0)),
    ("Celu", 12, {"alpha": 2.0}, celu(2.0, 2.0), celu(2.0, 1.0)),
    ("Swish", 24, {"alpha": 1.0}, x / (1 + np.exp(-x)), x / (1 + np.exp(-x))),
    ("Swish", 24, {"alpha": 1.7}, x / (1 + np.exp(-1.7 * x)), x / (1 + np.exp(-x))),
    ("GlobalLpPool", 12, {"p": 2}, norm(2), root_of_mean(2)),
    ("GlobalLpPool", 12, {"p": 3}, norm(3), root_of_mean(3)),
)
print(*(f"{name} {version(name)}" for name in ("tract", "onnx", "onnxruntime")))
seen = []
for operator, opset, attributes, right, wrong in CASES:
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in (("x", x), ("y", right))]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11 if opset == 24 else 8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "net.onnx")
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0], right, rtol=1e-4, atol=1e-5)
    got = tract.onnx().load("net.onnx").into_model().into_runnable().run([x])[0].to_numpy()
    values = [float(a.ravel()[np.abs(right).argmax() if right.size < 9 else x.argmin()]) for a in (got, right)]
    print(f"{operator} {attributes}: {values[0]:.4f}, expected {values[1]:.4f}")
    seen.append(np.allclose(got, wrong, rtol=1e-3, atol=1e-4, equal_nan=True))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
