#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator shifts average pools with ceil_mode, and cuts max pools with SAME_LOWER short.
#
# Expected: with ceil_mode=1 the last window reaches beyond the picture, and the others stand where they stood without it; with
# auto_pad=SAME_LOWER "output_spatial_shape[i] = ceil(input_spatial_shape[i] / strides_spatial_shape[i])" (ONNX, MaxPool), as in
# onnxruntime and in onnx's own shape inference. Seen: where two or more pixels are missing at the end, AveragePool puts half of
# them in front, and every value is that of another window; MaxPool with SAME_LOWER rounds the size down. AveragePool
# with SAME_LOWER, and MaxPool with ceil_mode or SAME_UPPER, are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

x = np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7)
print(*(f"{name} {version(name)}" for name in ("onnx", "onnxruntime")))
seen = []
for operator, stride, attributes, right in (
    ("AveragePool", 3, {"ceil_mode": 1}, False),
    ("AveragePool", 3, {}, True),
    ("AveragePool", 2, {"auto_pad": "SAME_LOWER"}, True),
    ("MaxPool", 3, {"ceil_mode": 1}, True),
    ("MaxPool", 2, {"auto_pad": "SAME_LOWER"}, False),
    ("MaxPool", 2, {"auto_pad": "SAME_UPPER"}, True),
):
    node = helper.make_node(operator, ["x"], ["y"], kernel_shape=[3, 3], strides=[stride, stride], **attributes)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    inferred = tuple(size.dim_value for size in model.graph.output[0].type.tensor_type.shape.dim)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x})[0]
    got = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert theirs.shape == inferred
    print(f"{operator} of 3x3, stride {stride}, {attributes}: reference", got[0, 0, 0], "onnxruntime", theirs[0, 0, 0])
    seen.append((got.shape == theirs.shape and np.allclose(got, theirs)) == right)
    if not right and operator == "AveragePool":
        # By hand: the first window covers the values 0 to 2, 7 to 9 and 14 to 16.
        seen += [theirs[0, 0, 0, 0] == 8, got.shape == theirs.shape, not np.isclose(got, theirs).any()]
    if not right and operator == "MaxPool":
        seen.append((got.shape[2:], theirs.shape[2:]) == ((3, 3), (4, 4)))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
