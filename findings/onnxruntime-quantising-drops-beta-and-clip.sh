#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static() drops a Gemm's factor beta, and a Clip whose lower bound is above 0.
#
# Expected: the network that was given, less the noise of 8 bits, of 30 dB and more here. Seen: the quantised Gemm has beta=1
# and the bias as it was, whatever beta the given one had (7 dB and less for beta=2). A Clip is taken out because the range
# of the numbers behind it is to do its work, but a quantised range always has 0 in it: with the bounds 1 and 2 all that lies
# between 0 and 1 goes through as it is (6 dB and less). No message, in both formats, QDQ, which is the default, and
# QOperator. A Clip from 0 to 6, and a Gemm with beta 1 or 0, are right.
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


def gemm(beta):
    nodes = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"], transB=1, beta=beta)]
    return nodes, {"w": weights(6, 256), "b": weights(6) * 20}, (1, 6)


def clip(lowest, highest):
    nodes = [
        node("Conv", ["x", "v"], ["a"], pads=[1] * 4),
        node("Clip", ["a", "lowest", "highest"], ["c"]),
        node("Conv", ["c", "w"], ["y"], pads=[1] * 4),
    ]
    bounds = {"lowest": np.float32(lowest), "highest": np.float32(highest)}
    return nodes, {"v": weights(4, 4, 3, 3), "w": weights(4, 4, 3, 3)} | bounds, (1, 4, 8, 8)


print(*(f"{name} {version(name)}" for name in ("onnxruntime", "onnx")))
seen = []
for form in (QuantFormat.QDQ, QuantFormat.QOperator):
    for name, network, right in (
        ("Gemm, beta 0", gemm(0.0), True),
        ("Gemm, beta 1", gemm(1.0), True),
        ("Gemm, beta 2", gemm(2.0), False),
        ("Clip from 0 to 6", clip(0, 6), True),
        ("Clip from 1 to 2", clip(1, 2), False),
    ):
        noise, nodes = quantised(*network, form)
        kinds = [item.op_type for item in nodes]
        betas = [a.f for item in nodes if item.op_type == "Gemm" for a in item.attribute if a.name == "beta"]
        print(f"{form.name}: {name}: {noise:.1f} dB; a Clip is left: {'Clip' in kinds}; beta: {betas}")
        seen += [noise > 30 if right else noise < 15, "Clip" not in kinds]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
