#!/usr/bin/env bash
# OpenVINO 2026.4.1, TVM 0.27.0: the output_shape of an ONNX ConvTranspose moves the picture, or is ignored.
#
# Expected: with auto_pad=SAME_UPPER an odd padding has its larger part at the end (ONNX, ConvTranspose, opset 11: "pads[start_i]
# = total_padding[i]/2"), and an output_shape that says what SAME_UPPER gives anyway changes nothing, as in onnxruntime.
# Seen: with that output_shape OpenVINO puts the larger part at the start, so that the whole picture is one pixel off, and
# without it, it does not. TVM ignores an output_shape without auto_pad: 11 x 13 for 10 x 12. No message from either.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet openvino==2026.4.1 apache-tvm==0.27.0.post1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import openvino
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

random = np.random.default_rng(0)
x = random.standard_normal((1, 2, 5, 6)).astype(np.float32)
weight = random.standard_normal((2, 3, 3, 3)).astype(np.float32)
core = openvino.Core()


def of_tvm(model):
    module = relax.transform.DecomposeOpsForInference()(from_onnx(model, keep_params_in_input=False))
    machine = relax.VirtualMachine(tvm.compile(relax.get_pipeline("zero")(module), target="llvm"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(x)).numpy()


def results(**attributes):
    """Return the results of onnxruntime, OpenVINO and TVM of a transposed convolution of 3x3 with stride 2."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], kernel_shape=[3, 3], strides=[2, 2], **attributes)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return session.run(None, {"x": x})[0], compiled(x)[0], of_tvm(model)


def compare(right, got):
    """Say in words how a result differs."""
    if got.shape != right.shape:
        return f"{got.shape[2]} x {got.shape[3]}"
    if np.allclose(got, right, atol=1e-4):
        return "right"
    return "one pixel off" if np.allclose(got[:, :, :-1, :-1], right[:, :, 1:, 1:], atol=1e-4) else "other values"


print(*(f"{name} {version(name)}" for name in ("openvino", "apache-tvm", "onnx", "onnxruntime")))
seen = []
for attributes, expected in (
    ({"auto_pad": "SAME_UPPER"}, ("right", "right")),
    ({"auto_pad": "SAME_UPPER", "output_shape": [10, 12]}, ("one pixel off", "right")),
    ({"output_shape": [10, 12]}, ("right", "11 x 13")),
):
    theirs, intel, apache = results(**attributes)
    words = compare(theirs, intel), compare(theirs, apache)
    print(f"{attributes}: onnxruntime {theirs.shape[2]} x {theirs.shape[3]}; OpenVINO {words[0]}; TVM {words[1]}")
    seen.append(words == expected)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
