#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator has no DequantizeLinear below opset 19.
#
# Expected: onnx's own evaluator runs what onnx's checker takes, and onnxruntime runs. Seen: a quantised network of
# opset 10 to 18, such as opset 13 and 17, is refused with "No implementation for operator 'DequantizeLinear'", though
# ONNX has the operator since opset 10. QuantizeLinear of the same opsets is run.
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

X = np.array([-1, -0.24, 0, 0.5, 20], np.float32)


def outcome(opset, kinds):
    """Return the reference's result for X through the nodes, or why there is none; check it against onnxruntime."""
    names = ["x", *(f"t{place}" for place in range(len(kinds)))]
    nodes = [helper.make_node(kind, [a, "s", "z"], [b]) for kind, a, b in zip(kinds, names, names[1:])]
    kind = TensorProto.FLOAT if kinds[-1] == "DequantizeLinear" else TensorProto.INT8
    constants = [numpy_helper.from_array(np.float32(0.125), "s"), numpy_helper.from_array(np.int8(0), "z")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info(names[-1], kind, X.shape)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {"x": X})[0]
    try:
        result = ReferenceEvaluator(model).run(None, {"x": X})[0]
    except RuntimeError as error:
        return f"refused: {error}"
    return "run, as by onnxruntime" if np.array_equal(result, wanted) else f"{result.tolist()} for {wanted.tolist()}"


print(*(f"{name} {version(name)}" for name in ("onnx", "onnxruntime")))
seen = []
for opset in (10, 13, 17, 18, 19, 21):
    quantised = outcome(opset, ["QuantizeLinear"])
    both = outcome(opset, ["QuantizeLinear", "DequantizeLinear"])
    print(f"opset {opset}: QuantizeLinear: {quantised}; with DequantizeLinear: {both}")
    refused = "No implementation for operator 'DequantizeLinear'" in both
    seen.append(quantised.startswith("run") and refused == (opset < 19) and refused != both.startswith("run"))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
