#!/usr/bin/env bash
# onnx 1.23.2: saving a model with external data again appends to the data file, or is refused, by the current folder.
#
# Expected: save_model(…, location="w.data") replaces the data file beside the model, as it replaces the model, or
# refuses to. Seen: beside a model in another folder the file grows by all weights at each save, and the old ones stay in
# it; an unrelated file of that name in the current folder, where nothing would be written, is why a save is refused with
# FileExistsError. The documentation calls the location relative to the model.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPTIONS = {"save_as_external_data": True, "location": "w.data", "size_threshold": 0}


def model(value):
    weights = numpy_helper.from_array(np.full(1000, value, np.float32), "w")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", tensors[:1], tensors[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


folder = pathlib.Path("models")
folder.mkdir()
print("onnx", onnx.__version__)
sizes = []
for value in (1, 2, 3):
    onnx.save_model(model(value), folder / "m.onnx", **OPTIONS)
    sizes.append((folder / "w.data").stat().st_size)
print("w.data of 4,000 bytes of weights after each of three saves:", sizes)
loaded = numpy_helper.to_array(onnx.load(folder / "m.onnx").graph.initializer[0])
print("weights loaded:", loaded[0])
old = np.frombuffer((folder / "w.data").read_bytes(), np.float32)[::1000].tolist()
print("weights in the file:", old)
pathlib.Path("w.data").write_text("something else")
(folder / "empty").mkdir()
try:
    onnx.save_model(model(1), folder / "empty" / "m.onnx", **OPTIONS)
    refused = None
except FileExistsError as error:
    refused = str(error)
print("save into an empty folder, with a w.data in the current one:", refused)
seen = sizes == [4000, 8000, 12000] and loaded[0] == 3 and old == [1, 2, 3] and refused
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
