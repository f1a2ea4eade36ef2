#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0: on Qualcomm's HTP an ONNX TopK gives the last of equal values first; ArgMax gives the first.
#
# Expected: "Given two equivalent values, this operator uses the indices along the axis as a tiebreaker. That is, the
# element with the lower index will appear first", says ONNX's TopK, and onnxruntime's CPU does so. Seen, on every
# version, without a message: of 1 3 3 2 3 the top-1 is index 4, and the top-3 are 4, 2 and 1. Scores of a quantised
# classifier have 256 steps and so are often equal: its class by TopK is then another than by ArgMax in the same
# program. Seen in the simulator of the HTP that is part of the package for x86-64; no Snapdragon was at hand.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet \
    onnxruntime-qnn==2.7.0 onnxruntime==1.32.0 onnx==1.23.2 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import onnxruntime_qnn
from onnx import TensorProto, helper, numpy_helper

# Snapdragon chips by Qualcomm's numbers, and the version of their HTP.
CHIPS = {"68": "30", "69": "36", "73": "43", "75": "57", "79": "69"}
SCORES = np.array([[1, 3, 3, 2, 3, -1, 0, 0]], np.float32)
IMAGES, CLASSES = 500, 100


def model(shape, k, *, step=None):
    """TopK, or ArgMax for k = 0; behind a Q/DQ of scores if there is a step."""
    last = "d" if step else "x"
    nodes, numbers = [], []
    if step:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        ]
        numbers = [numpy_helper.from_array(np.float32(step), "scale"), numpy_helper.from_array(np.uint8(128), "zero")]
    if k:
        nodes.append(helper.make_node("TopK", [last, "k"], ["v", "i"], axis=1))
        numbers.append(numpy_helper.from_array(np.array([k], np.int64), "k"))
    else:
        nodes.append(helper.make_node("ArgMax", [last], ["i"], axis=1))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    found = helper.make_tensor_value_info("i", TensorProto.INT64, [shape[0], max(k, 1)])
    graph = helper.make_graph(nodes, "g", [given], [found], numbers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


onnxruntime.register_execution_provider_library("QNNExecutionProvider", onnxruntime_qnn.get_library_path())
device = next(one for one in onnxruntime.get_ep_devices() if one.ep_name == "QNNExecutionProvider")


def on_htp(made, x, version):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Whatever the HTP does not take would be an error.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    chosen = {"backend_type": "htp", "soc_model": CHIPS[version], "htp_arch": version}
    options.add_provider_for_devices([device], chosen)
    return onnxruntime.InferenceSession(made, options).run(None, {"x": x})


def on_cpu(made, x):
    return onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, {"x": x})


print("onnxruntime-qnn", onnxruntime_qnn.__version__)
print("scores:", SCORES[0].tolist())
seen = []
for version in CHIPS:
    found = {k: on_htp(model(SCORES.shape, k), SCORES, version)[0][0].tolist() for k in (1, 3, 0)}
    print(f"HTP {version}: top-1 {found[1]}, top-3 {found[3]}, ArgMax {found[0]}")
    seen.append(found == {1: [4], 3: [4, 2, 1], 0: [1]})
for k, right in ((1, [1]), (3, [1, 2, 4]), (0, [1])):
    seen.append(on_cpu(model(SCORES.shape, k), SCORES)[0][0].tolist() == right)
# Scores of random images, of a classifier with 100 classes.
scores = np.random.default_rng(0).normal(0, 1.5, (IMAGES, CLASSES)).astype(np.float32)
step = np.abs(scores).max() / 127
top, most = (on_htp(model(scores.shape, k, step=step), scores, "73")[0] for k in (1, 0))
print(f"quantised scores, HTP 73: top-1 is not ArgMax for {np.mean(top != most):.1%} of {IMAGES} rows")
seen.append(np.mean(top != most) > 0.01)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
