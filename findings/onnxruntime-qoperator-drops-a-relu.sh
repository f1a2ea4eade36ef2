#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static() to QOperator drops a Relu whose input is read elsewhere too, and mixes shared biases up.
#
# Expected: as with the format QDQ, the network that was given, less the noise of 8 bits. Seen: where a Relu stands in one of
# two branches, as before the convolutions of a pre-activation block, it is taken out, and the branch gets the values below 0
# too: 0 dB. And where two convolutions share one bias, both get the integers that were made for the first one's scales:
# the second one's bias is wrong by the ratio of the scales. No message.
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
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

random = np.random.default_rng(0)
inputs = [random.standard_normal((1, 4, 8, 8)).astype(np.float32) for _ in range(20)]
node = helper.make_node


class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(inputs)

    def get_next(self):
        return next(({"x": x} for x in self.left), None)


def weights(*shape):
    return random.standard_normal(shape).astype(np.float32)


def outputs(path):
    """Return the outputs of the model for all inputs, without graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"x": x})[0] for x in inputs])


def quantised(nodes, constants, shape, form):
    """Return the SQNR in dB of the quantised network, and its nodes."""
    ends = (helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", (1, 4, 8, 8)), ("y", shape)))
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [next(ends)], [next(ends)], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(onnx.shape_inference.infer_shapes(model), "net.onnx")
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static("net.onnx", "int8.onnx", Images(), quant_format=form, **types)
    right = outputs("net.onnx")
    noise = np.square(right - outputs("int8.onnx")).sum()
    return 10 * np.log10(np.square(right).sum() / noise), onnx.load("int8.onnx").graph.node


def branch():
    nodes = [
        node("Conv", ["x", "u"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "v"], ["c"], pads=[1] * 4),
        node("Add", ["a", "c"], ["y"]),
    ]
    return nodes, {"u": weights(4, 4, 3, 3), "v": weights(4, 4, 3, 3)}, (1, 4, 8, 8)


def biases(shared):
    nodes = [
        node("Conv", ["x", "u", "b"], ["a"], pads=[1] * 4),
        node("Conv", ["a", "v", "b" if shared else "c"], ["y"], pads=[1] * 4),
    ]
    bias = weights(4) * 10
    constants = {"u": weights(4, 4, 3, 3), "v": weights(4, 4, 3, 3), "b": bias} | ({} if shared else {"c": bias})
    return nodes, constants, (1, 4, 8, 8)


print(*(f"{name} {version(name)}" for name in ("onnxruntime", "onnx")))
seen = []
cases = [("Relu in one of two branches", branch(), True)]
cases += [("shared bias", biases(True), True), ("own biases", biases(False), False)]
for name, network, wrong in cases:
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        noise, nodes = quantised(*network, form)
        kinds = [item.op_type for item in nodes]
        print(f"{form.name}: {name}: {noise:.1f} dB; nodes: {', '.join(kinds)}")
        seen.append(noise < 15 if wrong and form is QuantFormat.QOperator else noise > 28)
        if "Relu" in name:
            seen.append(("Relu" in kinds) == (form is QuantFormat.QDQ))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
