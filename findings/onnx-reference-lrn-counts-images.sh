#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator's LRN normalises as many channels as there are images.
#
# Expected: LRN divides every channel by a term of the squares of its neighbours, as the operator's formula says and as
# onnxruntime does. Seen: of one image, channel 0 alone is normalised and the others are handed on as they are; of three
# images, the first three channels. With as many images as channels it is right.
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

CHANNELS, SIZE, ALPHA, BETA, BIAS = 6, 5, 0.1, 0.75, 1.0


def by_hand(x):
    """Return the formula's result: square sums over the channels at most (SIZE - 1) / 2 away."""
    y, reach = np.empty_like(x), (SIZE - 1) // 2
    for channel in range(CHANNELS):
        near = x[:, max(0, channel - reach) : channel + reach + 1]
        y[:, channel] = x[:, channel] / (BIAS + ALPHA / SIZE * (near**2).sum(1)) ** BETA
    return y


print(*(f"{name} {version(name)}" for name in ("onnx", "onnxruntime")))
seen = []
for images in (1, 3, CHANNELS):
    x = np.random.default_rng(images).random((images, CHANNELS, 4, 4), np.float32) + 0.5
    node = helper.make_node("LRN", ["x"], ["y"], size=SIZE, alpha=ALPHA, beta=BETA, bias=BIAS)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0], by_hand(x), atol=1e-5)
    theirs = ReferenceEvaluator(model).run(None, {"x": x})[0]
    right = [channel for channel in range(CHANNELS) if np.allclose(theirs[:, channel], by_hand(x)[:, channel], atol=1e-5)]
    untouched = [channel for channel in range(CHANNELS) if np.array_equal(theirs[:, channel], x[:, channel])]
    print(f"{images} image(s) of {CHANNELS} channels: normalised {right}, handed on as they are {untouched}")
    seen.append((right, untouched) == (list(range(images)), list(range(images, CHANNELS))))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
