#!/usr/bin/env bash
# OpenVINO 2026.4.1: a centre crop taken over from torchvision lies one pixel off for a quarter of all sizes.
#
# Expected: PreprocessConverter.from_torchvision() builds the given transforms into the model, so that the pixels are
# those of torchvision. Seen: torchvision rounds half of the margin, OpenVINO cuts it off, so that the crop begins one
# pixel early where the margin is 3, 7, 11, … pixels; and where the picture has the size of the crop already, the result
# is 223 x 223 instead of 224 x 224. No message comes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 torch==2.14.1 torchvision==0.29.1 numpy
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import openvino
from openvino import opset13
from openvino.preprocess.torchvision import PreprocessConverter
from torchvision import transforms

transform = transforms.Compose([transforms.CenterCrop(224), transforms.ToTensor()])
print("openvino", openvino.__version__)
seen = {}
for size in (224, *range(248, 264)):
    # Each pixel holds the number of its row.
    picture = np.broadcast_to(np.arange(size)[:, None, None] % 256, (size, size, 3)).astype(np.uint8)
    wanted = transform(transforms.ToPILImage()(picture)).numpy()[None] * 255
    x = opset13.parameter([1, 3, -1, -1], np.float32)
    model = openvino.Model([opset13.relu(x)], [x], "model")
    model = PreprocessConverter.from_torchvision(model, transform, picture)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    got = compiled(picture[None])[0] * 255
    shift = int(np.rint(wanted[0, 0, 0, 0] - got[0, 0, 0, 0]))
    seen[size] = (got.shape[2:], shift)
    print(f"{size} x {size}, margin {size - 224}: OpenVINO {got.shape[2]} x {got.shape[3]}, begins {shift} pixels early")
expected = {size: ((224, 224), int(size % 4 == 3)) for size in seen} | {224: ((223, 223), 0)}
sys.exit(0 if seen == expected else "the behaviour has changed")
PYTHON
