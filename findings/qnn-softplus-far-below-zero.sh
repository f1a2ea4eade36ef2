#!/usr/bin/env bash
# onnxruntime-qnn 2.7.0: on Qualcomm's HTP from version 69 on, Softplus of -100 is -131008, and Mish of -100 is 100.
#
# Expected: 0, as ln(exp(x) + 1) says, as onnxruntime's CPU gives it, and as the same back end gives it for HTP version
# 68. A Softplus has no negative values at all. Seen, without a message: -131008, which is beyond FP16, from -88.5 to
# about -150, and 131008 at -300; a Mish, which is x * tanh(Softplus(x)), is then -x. Above -88 both are right to FP16.
# Seen in the simulator of the HTP that is part of the package for x86-64; no Snapdragon was at hand.
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
VALUES = np.array([[-300, -150, -120, -100, -90, -89, -88, -60, -10, 1, 100]], np.float32)


def model(operator):
    shape = list(VALUES.shape)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", tensors[:1], tensors[1:])
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
print("values:", VALUES[0].tolist())
seen = []
far, near = (VALUES > -200) & (VALUES < -88), VALUES >= -88
for operator, wrong in (("Softplus", np.full_like(VALUES, -131008)), ("Mish", -VALUES)):
    right = on_cpu(model(operator), VALUES)[0]
    for version in CHIPS:
        got = on_htp(model(operator), VALUES, version)[0]
        print(f"{operator}, HTP {version}:", got[0].round(2).tolist())
        seen.append(np.allclose(got[near], right[near], rtol=5e-3, atol=1e-3))
        seen.append(np.allclose(got[far], (right if version == "68" else wrong)[far], rtol=1e-3, atol=1e-3))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
