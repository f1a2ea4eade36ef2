#!/usr/bin/env bash
# onnxruntime 1.32.0: calibration by histogram refuses a last batch that is smaller than the others.
#
# Expected: quantize_static() takes ten images as batches of 4, 4 and 2 with every calibration method, as the model's
# batch is dynamic. Seen: MinMax does; Entropy, Percentile and Distribution end in NumPy's "ValueError: setting an array
# element with a sequence", after all images were run. Batches of 5 and 5 are taken by all four.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import contextlib
import sys
from importlib.metadata import version

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, quantize_static

randoms = np.random.default_rng(0)
images = randoms.random((10, 3, 32, 32), np.float32)


class Batches(CalibrationDataReader):
    def __init__(self, sizes):
        self.batches = iter(np.split(images, np.cumsum(sizes)[:-1]))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"x": batch}


def network():
    weights = randoms.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["y"], name="pool"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def outcome(method, sizes):
    try:
        with contextlib.redirect_stdout(sys.stderr):
            quantize_static("net.onnx", "int8.onnx", Batches(sizes), calibrate_method=method)
    except ValueError as error:
        return f"ValueError: {str(error).split('.')[0]}"
    kinds = [node.op_type for node in onnx.load("int8.onnx").graph.node]
    return f"{kinds.count('QuantizeLinear')} QuantizeLinear"


onnx.save(network(), "net.onnx")
print(*(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "numpy")))
seen = {}
for method in CalibrationMethod:
    for sizes in ((5, 5), (4, 4, 2)):
        seen[method.name, sizes] = result = outcome(method, sizes)
        print(f"{method.name}, batches of {sizes}: {result}")
same = all(
    ("ValueError: setting an array element with a sequence" in result) == (method != "MinMax" and sizes == (4, 4, 2))
    for (method, sizes), result in seen.items()
)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
