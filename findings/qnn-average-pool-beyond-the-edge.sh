#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0: on Qualcomm's HTP an AveragePool with ceil_mode=1 does not compute its last row of an odd size.
#
# Expected: the mean of the pixels that a window has, as onnxruntime's CPU and PyTorch give it ("count_include_pad: ...
# Default is 0, doesn't count include pad", ONNX says). Seen, without a message, with PyTorch's `AvgPool2d(2, 2,
# ceil_mode=True, count_include_pad=False)`, which is in the shortcuts of ResNet-D, of 7 x 7 or 15 x 15 pixels: the
# last row is wrong, mostly 0, and on version 68 and in a quantised network the last column too. Even sizes, ceil_mode=0
# and MaxPool are right. Seen in the simulator of the HTP that is part of the package for x86-64; no Snapdragon was at
# hand.
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
CHANNELS = 64
# The step of a quantised network, small enough to tell right from wrong.
STEP, TOLERANCE = np.float32(0.02), 0.05


def model(shape, out_shape, pool, ceil, quantised):
    """A pool of windows of 2 x 2, with a Q/DQ before and behind it if quantised."""
    where = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": ceil}
    nodes, numbers = [helper.make_node(pool, ["x"], ["y"], **where)], []
    if quantised:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
            helper.make_node(pool, ["xd"], ["p"], **where),
            helper.make_node("QuantizeLinear", ["p", "scale", "zero"], ["pq"]),
            helper.make_node("DequantizeLinear", ["pq", "scale", "zero"], ["y"]),
        ]
        numbers = [numpy_helper.from_array(np.array(STEP), "scale"), numpy_helper.from_array(np.uint8(128), "zero")]
    tensors = [helper.make_tensor_value_info(*one) for one in (("x", 1, shape), ("y", 1, out_shape))]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], numbers)
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
def wrong_rows_and_columns(size, version, *, pool="AveragePool", ceil=1, quantised=False):
    """Print the last row, and return the rows and columns that are wrong."""
    x = np.random.default_rng(size).uniform(1, 2, (1, CHANNELS, size, size)).astype(np.float32)
    out = (size + ceil) // 2
    windows = [[x[..., 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for j in range(out)] for i in range(out)]
    reduce = np.mean if pool == "AveragePool" else np.max
    right = np.stack([np.stack([reduce(w, axis=(2, 3)) for w in row], -1) for row in windows], -2)
    made = model(x.shape, right.shape, pool, ceil, quantised)
    if not quantised:
        assert np.allclose(on_cpu(made, x)[0], right, atol=1e-5)
    got = on_htp(made, x, version)[0]
    what = f"{pool}, ceil_mode={ceil}, {size} x {size}{', quantised' if quantised else ''}, HTP {version}"
    print(f"{what}: last row {got[0, 0, -1, :4].round(2)}, right {right[0, 0, -1, :4].round(2)}")
    wrong = ~np.isclose(got, right, rtol=0, atol=TOLERANCE).all((0, 1))
    # The corner belongs to both.
    return np.flatnonzero(wrong[:, 0]).tolist(), np.flatnonzero(wrong[0]).tolist()


seen = [wrong_rows_and_columns(7, version) == ([3], []) for version in ("69", "73", "75", "79")]
seen.append(wrong_rows_and_columns(7, "68") == ([3], [3]))
seen.append(wrong_rows_and_columns(15, "73") == ([7], []))
seen.append(wrong_rows_and_columns(7, "73", quantised=True) == ([3], [3]))
for size, others in ((8, {}), (7, {"ceil": 0}), (7, {"pool": "MaxPool"})):
    seen.append(wrong_rows_and_columns(size, "73", **others) == ([], []))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
