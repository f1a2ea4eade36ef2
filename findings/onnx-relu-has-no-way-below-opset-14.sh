#!/usr/bin/env bash
# onnx 1.23.2: convert_version() takes no ResNet below opset 14, as Relu has no way down.
#
# Expected: a ResNet of opset 17 can be brought to opset 13 or 11 for an older runtime, as all its nodes are valid there
# with the same meaning. Seen: Relu and Add, whose opset 14 only allows more types, cannot go below 14,
# BatchNormalization not below 15, Flatten and Gemm not below 13: "No Adapter From Version". Conv, MaxPool and
# GlobalAveragePool can.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import re
import sys
from importlib.metadata import version

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ones = np.ones(4, np.float32)
CONSTANTS = {"w": np.ones((4, 4, 3, 3), np.float32), "v": ones, "c": np.ones((4, 4), np.float32)}
NODES = {
    "Relu": (["x"], {}, [1, 4, 8, 8]),
    "Add": (["x", "x"], {}, [1, 4, 8, 8]),
    "BatchNormalization": (["x", "v", "v", "v", "v"], {}, [1, 4, 8, 8]),
    "Conv": (["x", "w"], {"kernel_shape": [3, 3]}, [1, 4, 8, 8]),
    "MaxPool": (["x"], {"kernel_shape": [3, 3], "strides": [2, 2]}, [1, 4, 8, 8]),
    "GlobalAveragePool": (["x"], {}, [1, 4, 8, 8]),
    "Flatten": (["x"], {}, [1, 4, 1, 1]),
    "Gemm": (["x", "c", "v"], {}, [1, 4]),
}


def model_of(kind, opset):
    inputs, attributes, shape = NODES[kind]
    constants = [numpy_helper.from_array(CONSTANTS[name], name) for name in dict.fromkeys(inputs) if name in CONSTANTS]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in (("x", shape), ("y", None))]
    node = helper.make_node(kind, inputs, ["y"], **attributes)
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def outcome(kind, target):
    model_of(kind, target)  # The same node is valid in the target's opset.
    try:
        converted = onnx.version_converter.convert_version(model_of(kind, 17), target)
    except RuntimeError as error:
        return re.search(r"No Adapter.*", str(error))[0]
    return "taken" if converted.opset_import[0].version == target else "opset unchanged"


print("onnx", version("onnx"))
seen = {(kind, target): outcome(kind, target) for kind in NODES for target in (15, 14, 13, 11)}
for (kind, target), result in seen.items():
    print(f"{kind}, opset 17 to {target}: {result}")
REFUSED = {"Relu": 14, "Add": 14, "BatchNormalization": 15, "Flatten": 13, "Gemm": 13}
same = all((result != "taken") == (target < REFUSED.get(kind, 0)) for (kind, target), result in seen.items())
sys.exit(0 if same else "the behaviour has changed")
PYTHON
