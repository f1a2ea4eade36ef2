#!/usr/bin/env bash
# TVM 0.27.0: an ONNX Resize by scales is computed with the ratio of the sizes, where the two differ.
#
# Expected: the coordinates by the scale that the model gives, "x_original = (x_resized + 0.5) / scale - 0.5" (ONNX,
# Resize), as onnxruntime and PyTorch's interpolate(scale_factor=0.5) have it. Seen: wherever the new size was rounded, the
# coordinates are by new size / old size: of 15 pixels halved, and of 224 by 0.7, up to a pixel off, without a message. Where
# nothing is rounded it is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet apache-tvm==0.27.0.post1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def of_tvm(model, x):
    module = relax.transform.DecomposeOpsForInference()(from_onnx(model, keep_params_in_input=False))
    machine = relax.VirtualMachine(tvm.compile(relax.get_pipeline("zero")(module), target="llvm"), tvm.cpu())
    return machine["main"](tvm.runtime.tensor(x)).numpy()


print(*(f"{name} {version(name)}" for name in ("apache-tvm", "onnx", "onnxruntime")))
seen = []
for size, scale in ((16, 0.5), (15, 0.5), (15, 1.5), (224, 0.7)):
    # A ramp, so that a value is the place that it was taken from.
    x = np.tile(np.arange(size, dtype=np.float32), (1, 1, size, 1))
    place = np.clip((np.arange(int(size * scale)) + 0.5) / scale - 0.5, 0, size - 1)
    by_sizes = np.clip((np.arange(len(place)) + 0.5) * size / len(place) - 0.5, 0, size - 1)
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    scales = numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [scales])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0][0, 0, 3], place, atol=1e-3)
    got = of_tvm(model, x)[0, 0, 3]
    print(f"{size} pixels by {scale}: at most {np.abs(got - place).max():.3f} pixels off")
    seen.append(np.allclose(got, by_sizes, atol=1e-3) and np.allclose(got, place, atol=1e-3) == (size == 16))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
