#!/usr/bin/env bash
# OpenCV 5.0.0.93: pools and convolutions with padding are wrong in one of its two engines or the other.
#
# Expected: both engines of cv2.dnn.readNetFromONNX() compute AveragePool with count_include_pad=1 (the default of
# PyTorch's AvgPool2d), and SAME_UPPER and SAME_LOWER, as onnxruntime and onnx's reference do, or refuse the model.
# Seen, without a message: the classic engine leaves the padding out of the average, and takes SAME_LOWER of a
# convolution for SAME_UPPER; the new one, which is tried first, divides a window that ceil_mode lets reach beyond the
# picture by its whole size, as if there were padding, and takes SAME_UPPER of a max pool for SAME_LOWER.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 onnx==1.23.2 \
    onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ENGINES = {"classic": cv2.dnn.ENGINE_CLASSIC, "new": cv2.dnn.ENGINE_NEW, "auto": cv2.dnn.ENGINE_AUTO}
randoms = np.random.default_rng(0)
weights = randoms.normal(size=(4, 4, 3, 3)).astype(np.float32)


def network(kind, side, **attributes):
    inputs, constants = ["x"], []
    if kind == "Conv":
        inputs, constants = ["x", "w"], [numpy_helper.from_array(weights, "w")]
    node = helper.make_node(kind, inputs, ["y"], strides=[2, 2], **attributes)
    shapes = {"x": [1, 4, side, side], "y": None}
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    model = helper.make_model(
        helper.make_graph([node], "g", tensors[:1], tensors[1:], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def by_onnxruntime(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def by_opencv(model, x, engine):
    onnx.save(model, "net.onnx")
    net = cv2.dnn.readNetFromONNX("net.onnx", engine)
    net.setInput(x)
    return net.forward()


def seen_of(title, kind, side, attributes, instead):
    """Print which engines are right, and return their names; check that the others do what `instead` says."""
    x = randoms.random((1, 4, side, side), np.float32)
    model = network(kind, side, **attributes)
    wanted = by_onnxruntime(model, x)
    assert np.allclose(ReferenceEvaluator(model).run(None, {"x": x})[0], wanted, atol=1e-4)
    other = by_onnxruntime(network(kind, side, **(attributes | instead)), x)
    right = set()
    for name, engine in ENGINES.items():
        result = by_opencv(model, x, engine)
        apart = abs(result - wanted).max()
        told = "right" if apart < 1e-4 else f"{apart:.2f} off"
        if apart < 1e-4:
            right.add(name)
        elif np.allclose(result, other, atol=1e-4):
            told += f", the result of {instead}"
        else:
            right.add(f"{name} does something else")
        print(f"{title}: {name} engine: {told}")
    return right


print(*(f"{name} {version(name)}" for name in ("opencv-python-headless", "onnx", "onnxruntime")))
three, upper, lower = {"kernel_shape": [3, 3]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}
padded = three | {"pads": [1] * 4, "count_include_pad": 1}
beyond = {"kernel_shape": [2, 2], "ceil_mode": 1, "count_include_pad": 1}
seen = [
    seen_of("average over the padding", "AveragePool", 14, padded, {"count_include_pad": 0}),
    seen_of("average beyond the picture", "AveragePool", 13, beyond, {"ceil_mode": 0, "pads": [0, 0, 1, 1]}),
    seen_of("max pool, SAME_UPPER", "MaxPool", 14, three | upper, lower),
    seen_of("convolution, SAME_LOWER", "Conv", 14, three | lower, upper),
]
same = seen == [{"new", "auto"}, {"classic"}, {"classic"}, {"new", "auto"}]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
