#!/usr/bin/env bash
# onnxruntime 1.32.0: a session copies the arrays that it is given by add_external_initializers().
#
# Expected: arrays that the caller must keep alive as long as the session are used where they are, so that a session on
# 200 MB of weights takes little memory of its own. Seen: opening it takes as much memory again as the weights have,
# without any optimisation too, and a change of the array afterwards does not change the result. The same array as an
# input of the graph is not copied.
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
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

SIZE = 50_000_000
weights = np.ones(SIZE, np.float32)


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def opened(as_input):
    """Return a session on y = max(x + weights), and the megabytes that opening it took."""
    nodes = [helper.make_node("Add", ["x", "w"], ["s"]), helper.make_node("ReduceMax", ["s"], ["y"], keepdims=0)]
    info = helper.make_tensor_value_info("w", TensorProto.FLOAT, [SIZE])
    stub = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[SIZE], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "beside"), ("offset", "0"), ("length", str(weights.nbytes))):
        stub.external_data.add(key=key, value=value)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), *([info] if as_input else [])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "g", inputs, [output], [] if as_input else [stub])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not as_input:
        options.add_external_initializers(["w"], [onnxruntime.OrtValue.ortvalue_from_numpy(weights)])
    before = resident_mb()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session, resident_mb() - before


print(*(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "numpy")))
given, took_given = opened(as_input=False)
fed, took_fed = opened(as_input=True)
x = np.zeros(1, np.float32)
weights[0] = 5
found = float(given.run(None, {"x": x})[0]), float(fed.run(None, {"x": x, "w": weights})[0])
print(f"weights: {weights.nbytes / 1e6:.0f} MB; opened with them given: {took_given:.0f} MB; as an input: {took_fed:.0f} MB")
print(f"largest weight after the array was changed from 1 to 5: given {found[0]:g}, as an input {found[1]:g}")
sys.exit(0 if took_given > 0.9 * weights.nbytes / 1e6 > took_fed and found == (1, 5) else "the behaviour has changed")
PYTHON
