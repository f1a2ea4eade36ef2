#!/usr/bin/env bash
# pnnx 20261020 and ncnn 1.0.20261020: average pools of an ONNX network with SAME padding are divided by their padding too.
#
# Expected: ONNX's pools, worked by NumPy: an AveragePool counts no padding by default, and where one row and column are
# missing SAME_UPPER adds them at the end and SAME_LOWER at the beginning. Seen: an AveragePool with SAME_UPPER or SAME_LOWER
# becomes a padding with zeros and a pool that counts them, without a message for stride 1. For stride 2 one row and column
# are added on both sides, so that a MaxPool with SAME_UPPER (the first pool of ResNets that come from TensorFlow) is that
# of SAME_LOWER; the log says that the output's shape may be wrong, and it is right, but the numbers are not. A MaxPool with
# the pads [1, 1, 0, 0] has them at the end too, and one row and column more than it should. And ncnn divides a window of
# ceil_mode and count_include_pad, both of PyTorch's AvgPool2d(2, 2, ceil_mode=True), that reaches beyond the picture by
# its whole size. MaxPool with SAME padding and stride 1, and the pads [0, 0, 1, 1], are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version. pnnx's program needs no torch,
# which its Python functions alone use.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet ncnn==1.0.20261020 onnx==1.23.2 numpy==2.4.6
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet --no-deps pnnx==20261020
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import subprocess
import sys
from importlib.metadata import distribution, version

import ncnn
import numpy as np
import onnx
from onnx import TensorProto, helper

random = np.random.default_rng(0)


def pooled(kind, picture, first, count, kernel, stride):
    """Return the pool whose windows begin at `first`; no padding is counted."""
    size = picture.shape[1]
    result = np.zeros((len(picture), count, count), np.float32)
    for row, column in np.ndindex(count, count):
        starts = row * stride + first, column * stride + first
        inside = picture[:, *(slice(max(start, 0), start + kernel) for start in starts)]
        result[:, row, column] = inside.max(axis=(1, 2)) if kind == "MaxPool" else inside.mean(axis=(1, 2))
    return result


def converted(kind, picture, **attributes):
    """Return what ncnn gives of a network of one pool, converted by pnnx, and whether the log warned of its shape."""
    node = helper.make_node(kind, ["x"], ["y"], **attributes)
    shape = [1, *picture.shape]
    shapes = {"x": shape, "y": [*shape[:2], "height", "width"]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in shapes.items()]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 19)], ir_version=9
    )
    onnx.checker.check_model(model)
    onnx.save(model, "model.onnx")
    program = distribution("pnnx").locate_file("pnnx/pnnx")
    command = [program, "model.onnx", "fp16=0", "inputshape=" + str(shape).replace(" ", "")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    warned = "may lead to incorrect output shape" in done.stdout + done.stderr
    net = ncnn.Net()
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    net.opt.num_threads = 1
    assert net.load_param("model.ncnn.param") == 0 and net.load_model("model.ncnn.bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(picture).clone())
    return np.array(extractor.extract("out0")[1]), warned


print(*(f"{name} {version(name)}" for name in ("pnnx", "ncnn", "onnx")))
seen = []
for size, stride in ((112, 2), (8, 1)):
    picture = random.normal(size=(4, size, size)).astype(np.float32)
    count = size // stride
    for kind in ("MaxPool", "AveragePool"):
        firsts = {"SAME_UPPER": stride - 2, "SAME_LOWER": -1}
        right = {name: pooled(kind, picture, first, count, 3, stride) for name, first in firsts.items()}
        for name in right:
            got, warned = converted(kind, picture, kernel_shape=[3, 3], strides=[stride] * 2, auto_pad=name)
            off = ~np.isclose(got, right[name], atol=1e-5)
            text = "the log warns of the shape" if warned else "no message"
            worst = np.abs(got - right[name]).max()
            print(f"{kind} 3 x 3, stride {stride}, {name}: {off.mean():.0%} wrong, by {worst:.2f} at most; {text}")
            seen.append(warned == (stride == 2))
            if kind == "MaxPool":
                seen += [np.allclose(got, right["SAME_LOWER"]), off.any() == (stride == 2 and name == "SAME_UPPER")]
            else:
                seen.append(off.any())
picture = random.normal(size=(4, 8, 8)).astype(np.float32)
for pads, first in (([0, 0, 1, 1], 0), ([1, 1, 0, 0], -1)):
    right = pooled("MaxPool", picture, first, 4, 3, 2)
    got, warned = converted("MaxPool", picture, kernel_shape=[3, 3], strides=[2, 2], pads=pads)
    print(f"MaxPool 3 x 3, stride 2, pads {pads}: {got.shape[1:]}, right is {right.shape[1:]}")
    seen += [not warned, got.shape == (4, 5, 5) if first else np.allclose(got, right)]
picture = random.normal(size=(4, 7, 7)).astype(np.float32)
for include in (1, 0):
    options = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": include}
    got, warned = converted("AveragePool", picture, **options)
    right = pooled("AveragePool", picture, 0, 4, 2, 2)
    share = (got / right)[0, -1].round(3)
    print(f"AveragePool 2 x 2 of 7 x 7, ceil_mode, count_include_pad={include}: last row {share.tolist()} of what is right")
    seen += [not warned, np.allclose(share, [0.5, 0.5, 0.5, 0.25] if include else 1, atol=0.01)]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
