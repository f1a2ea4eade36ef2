#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0: on Qualcomm's HTP a nearest ONNX Resize takes other pixels than nearest_mode says.
#
# Expected: what ONNX's Resize says of nearest_mode, as onnxruntime's CPU gives it; its default "round_prefer_floor"
# rounds down at the half. Seen, on every version and without a message: with half_pixel and align_corners every mode
# takes the nearest pixel and rounds up at the half, and with asymmetric "round_prefer_ceil" rounds down. By the
# defaults 8 pixels made 4 are those of 1, 3, 5, 7 where 0, 2, 4, 6 are right; "floor" and "ceil" of 4 pixels made 8
# are one. asymmetric with "floor", which is PyTorch's nearest, is right. Seen in the simulator of the HTP that is part
# of the package for x86-64; no Snapdragon was at hand.
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
HALF, ALIGNED, ASYMMETRIC = "half_pixel", "align_corners", "asymmetric"
# Pixels before and after, coordinate_transformation_mode, nearest_mode (None: its default), pixels that HTP takes.
WRONG = [
    (8, 4, HALF, None, [1, 3, 5, 7]),
    (8, 4, HALF, "floor", [1, 3, 5, 7]),
    (4, 7, HALF, None, [0, 0, 1, 2, 2, 3, 3]),
    (4, 8, HALF, "floor", [0, 0, 1, 1, 2, 2, 3, 3]),
    (4, 8, HALF, "ceil", [0, 0, 1, 1, 2, 2, 3, 3]),
    (8, 4, ALIGNED, "floor", [0, 2, 5, 7]),
    (8, 4, ALIGNED, "ceil", [0, 2, 5, 7]),
    (4, 8, ASYMMETRIC, "round_prefer_ceil", [0, 0, 1, 1, 2, 2, 3, 3]),
]
RIGHT = [
    (8, 4, HALF, "round_prefer_ceil", [1, 3, 5, 7]),
    (4, 8, HALF, None, [0, 0, 1, 1, 2, 2, 3, 3]),
    (4, 7, ASYMMETRIC, "floor", [0, 0, 1, 1, 2, 2, 3]),
]


def model(before, after, transformation, rounding):
    attributes = {"mode": "nearest", "coordinate_transformation_mode": transformation}
    if rounding:
        attributes["nearest_mode"] = rounding
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    tensors = [helper.make_tensor_value_info(*one) for one in (("x", 1, [1, 1, 1, before]), ("y", 1, [1, 1, 1, after]))]
    sizes = numpy_helper.from_array(np.array([1, 1, 1, after], np.int64), "sizes")
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [sizes])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def pixels(result):
    return result[0].ravel().round().astype(int).tolist()


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
seen = []
for is_right, cases in ((False, WRONG), (True, RIGHT)):
    for before, after, transformation, rounding, taken in cases:
        ramp = np.arange(before, dtype=np.float32).reshape(1, 1, 1, before)
        made = model(before, after, transformation, rounding)
        expected, got = pixels(on_cpu(made, ramp)), pixels(on_htp(made, ramp, "73"))
        print(f"{before} to {after}, {transformation}, {rounding or 'default'}: HTP takes {got}, right {expected}")
        seen += [got == taken, (expected == taken) == is_right]
made, ramp = model(8, 4, HALF, None), np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)
others = {version: pixels(on_htp(made, ramp, version)) for version in CHIPS}
print("8 to 4, by the defaults, on each version:", others)
seen.append(all(got == [1, 3, 5, 7] for got in others.values()))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
