#!/usr/bin/env bash
# aimet-onnx 2.42.0: the quantisation scheme "percentile" gives the ranges of "min_max".
#
# Expected: QuantizationSimModel(quant_scheme="percentile") leaves some of the largest values outside the range, as its
# name says, or is refused. Seen: its percentile is 100, so that the range ends at the largest value, and no public call
# sets another; the documentation of aimet-torch has set_percentile_value() for it. Set at the quantiser inside, 99
# clips a quarter and more of the range.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet aimet-onnx==2.42.0 onnx==1.23.2 onnxruntime==1.32.0 \
    torch==2.13.0 torchvision==0.28.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys

import aimet_onnx
import numpy as np
from aimet_onnx import QuantizationSimModel
from onnx import TensorProto, helper

VALUES = np.random.default_rng(0).normal(size=(1, 100_000)).astype(np.float32)


def range_of_input(scheme, percentile=None):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(VALUES.shape)) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="relu")], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    sim = QuantizationSimModel(model, quant_scheme=scheme)
    quantizer = sim.qc_quantize_op_dict["x"]
    if percentile:
        quantizer._tensor_quantizer.setPercentileValue(percentile)
    sim.compute_encodings([{"x": VALUES}])
    (encoding,) = quantizer.encodings
    return round(encoding.min, 3), round(encoding.max, 3)


whole, percentile, inside = range_of_input("min_max"), range_of_input("percentile"), range_of_input("percentile", 99.0)
public = [name for name in dir(QuantizationSimModel) if "percentile" in name.lower()]
print("aimet-onnx", aimet_onnx.__version__)
print("the values' own range:", float(VALUES.min()), float(VALUES.max()))
print("min_max:", whole, "percentile:", percentile, "percentile, set to 99 inside:", inside)
print("methods of QuantizationSimModel that name a percentile:", public)
# Apart by no more than two of 255 steps: where the zero point falls.
step = (whole[1] - whole[0]) / 255
same = max(abs(one - other) for one, other in zip(whole, percentile, strict=True)) < 2 * step
seen = same and inside[1] < 0.75 * whole[1] and not public
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
