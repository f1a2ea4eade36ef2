#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0: on Qualcomm's HTP from version 69 on, a Cast from uint8 to float32 gives 0 or 1.
#
# Expected: the numbers 0 to 255, as ONNX's Cast says, as the same back end gives them for HTP version 68, and as it
# gives them for a Cast to float16 or by way of int32. Seen: 0 for 0 and 1 for every other value, without a message. A
# network whose input is pixels as bytes then sees nearly the same picture every time. Seen in the simulator of the HTP
# that is part of the package for x86-64; no Snapdragon was at hand.
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
from onnx import TensorProto, helper

VALUES = np.array([[0, 1, 2, 100, 127, 128, 255]], np.uint8)
# Snapdragon chips by Qualcomm's numbers, and the version of their HTP.
CHIPS = {"68": "30", "69": "36", "73": "43", "75": "57"}


def model(*types):
    """Casts from uint8, one after the other."""
    names = ["x", *(f"c{i}" for i in range(len(types) - 1)), "y"]
    nodes = [helper.make_node("Cast", [names[i]], [names[i + 1]], to=to) for i, to in enumerate(types)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, list(VALUES.shape))],
        [helper.make_tensor_value_info("y", types[-1], list(VALUES.shape))],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


onnxruntime.register_execution_provider_library("QNNExecutionProvider", onnxruntime_qnn.get_library_path())
device = next(one for one in onnxruntime.get_ep_devices() if one.ep_name == "QNNExecutionProvider")


def on_htp(made, version):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Whatever the HTP does not take would be an error.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    chosen = {"backend_type": "htp", "soc_model": CHIPS[version], "htp_arch": version}
    options.add_provider_for_devices([device], chosen)
    return onnxruntime.InferenceSession(made, options).run(None, {"x": VALUES})[0]


print("onnxruntime-qnn", onnxruntime_qnn.__version__)
print("values:", VALUES[0].tolist())
to_float = model(TensorProto.FLOAT)
found = {version: on_htp(to_float, version) for version in CHIPS}
for version, values in found.items():
    print(f"to float32, HTP {version}:", values[0].tolist())
others = {
    "to float16, HTP 73:": on_htp(model(TensorProto.FLOAT16), "73"),
    "to int32, then float32, HTP 73:": on_htp(model(TensorProto.INT32, TensorProto.FLOAT), "73"),
}
for what, values in others.items():
    print(what, values[0].tolist())
seen = (
    np.array_equal(found["68"], VALUES)
    and all(np.allclose(found[version], VALUES > 0, atol=1e-6) for version in ("69", "73", "75"))
    and all(np.array_equal(values, VALUES) for values in others.values())
)
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
