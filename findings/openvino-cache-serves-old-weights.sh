#!/usr/bin/env bash
# OpenVINO 2026.4.1: with CACHE_DIR, compile_model("net.xml") goes on answering with the old weights after net.bin was
# replaced.
#
# Expected: a cached network is used for the same network alone, so new weights are compiled anew. Seen: the cache knows
# the file whose path was given, by its path, size and time, and not the file of the weights beside it. A checkout that
# rewrites changed files alone leaves net.xml as it is when a network was trained on, as its bytes are the same. The same
# happens with ONNX and external data, and with one ONNX file of the same size and time (reproducible builds set one time
# for all files). compile_model(core.read_model(path)) compiles the new weights in all three cases.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import os
import shutil
import sys

import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper, numpy_helper

TIME = (1e9, 1e9)


def network(weight):
    """A 1x1 convolution of four channels: for an input of ones every output is 4 * weight."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.full((4, 4, 1, 1), weight, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def write_ir(weight):
    """Both files, but net.xml only where its bytes change, as a checkout does it."""
    ov.save_model(ov.Core().read_model(network(weight).SerializeToString()), "new.xml")
    os.replace("new.bin", "net.bin")
    with open("new.xml", "rb") as new:
        if not os.path.exists("net.xml") or new.read() != open("net.xml", "rb").read():
            os.replace("new.xml", "net.xml")
    return "net.xml"


def write_external(weight):
    if os.path.exists("weights.data"):
        os.remove("weights.data")
    onnx.save(network(weight), "net2.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    os.utime("net2.onnx", TIME)
    return "net2.onnx"


def write_onnx(weight):
    onnx.save(network(weight), "net.onnx")
    os.utime("net.onnx", TIME)
    return "net.onnx"


def answers(write, read):
    """The outputs with the weights 1 and then 2, in one process each as far as OpenVINO can tell."""
    shutil.rmtree("cache", ignore_errors=True)
    found = []
    for weight in (1.0, 2.0):
        core, path = ov.Core(), write(weight)
        compiled = core.compile_model(core.read_model(path) if read else path, "CPU", {"CACHE_DIR": "cache"})
        found.append(float(compiled(np.ones((1, 4, 8, 8), np.float32))[0].flat[0]))
    return found


print("OpenVINO", ov.__version__)
same = True
for name, write in (("IR, net.bin alone replaced", write_ir), ("ONNX, external data", write_external), ("ONNX", write_onnx)):
    by_path, by_model = answers(write, read=False), answers(write, read=True)
    print(f"{name}: outputs with weights of 1, then of 2: {by_path} by path, {by_model} by read_model(); right: [4.0, 8.0]")
    same &= by_path == [4.0, 4.0] and by_model == [4.0, 8.0]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
