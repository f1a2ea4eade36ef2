#!/usr/bin/env bash
# transformers.js 4.3.2 (npm) in Node: its image processors skip pixels where Python's average them, and darken an edge.
#
# Expected: for resample=2 and 3 Pillow's bilinear and bicubic resizing, which the same preprocessor_config.json gives in
# Python. Seen: a picture is made smaller by reading single places, x times old size / new size, without any averaging and
# half a pixel off: a white line one pixel wide is gone, and the pixels of a photograph at 224 x 224 are 8 and 10 levels
# off in the mean, some more than 100. Made larger, the last row and column are mixed with black: 120 for 240. No message;
# resample=1 (Lanczos) is Pillow's within one level in the mean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pillow==13.0.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$work"
npm install --silent --ignore-scripts @huggingface/transformers@4.3.2 sharp@0.35.5 > log 2>&1 || { tail -20 log; exit 1; }
cat > process.mjs <<'NODE'
import { writeFileSync } from "node:fs";
import { RawImage, ViTImageProcessor } from "@huggingface/transformers";

for (const [name, size] of [["photo", 224], ["line", 8], ["ramp", 32]])
  for (const resample of [1, 2, 3]) {
    const processor = new ViTImageProcessor({
      do_resize: true, size: { height: size, width: size }, resample,
      do_rescale: false, do_normalize: false,
    });
    const { pixel_values } = await processor([await RawImage.read(`${name}.png`)]);
    writeFileSync(`${name}-${resample}.f32`, pixel_values.data);
  }
NODE
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

line = np.zeros((32, 32, 3), np.uint8)
line[:, 5] = 255
ramp = np.zeros((16, 16, 3), np.uint8)
ramp[:] = (np.arange(16) * 16)[None, :, None]
pictures = {"photo": (load_sample_image("china.jpg"), 224), "line": (line, 8), "ramp": (ramp, 32)}
for name, (picture, _) in pictures.items():
    Image.fromarray(picture).save(f"{name}.png")
subprocess.run(["node", "process.mjs"], check=True)
for name in ("@huggingface/transformers", "sharp"):
    print(name, json.loads(Path(f"node_modules/{name}/package.json").read_text())["version"], end=" ")
print("Pillow", version("pillow"))
seen = []
for resample, kind in ((1, "Lanczos"), (2, "bilinear"), (3, "bicubic")):
    right, got = {}, {}
    for name, (picture, size) in pictures.items():
        right[name] = np.asarray(Image.fromarray(picture).resize((size, size), resample)).astype(np.float32)
        got[name] = np.fromfile(f"{name}-{resample}.f32", np.float32).reshape(3, size, size).transpose(1, 2, 0)
    error = np.abs(got["photo"] - right["photo"])
    print(f"{kind}: photograph {error.mean():.1f} levels off in the mean, {error.max():.0f} at most;")
    print(f"  line in 8 pixels: {got['line'][4, :, 0]}, Pillow {right['line'][4, :, 0]}")
    print(f"  end of a ramp to 240, made larger: {got['ramp'][5, -4:, 0]}, Pillow {right['ramp'][5, -4:, 0]}")
    if kind == "Lanczos":
        seen += [error.mean() < 1, got["line"].max() > 30, got["ramp"][5, -1, 0] > 235]
    else:
        seen += [error.mean() > 8, error.max() > 100, got["line"].max() == 0, got["ramp"][5, -1, 0] < 130]
        seen += [right["line"].max() > 40, right["ramp"][5, -1, 0] > 235]
        places = (np.arange(8) * 4)[:, None], (np.arange(8) * 4)[None]
        seen.append(bool((got["line"] == line[places]).all()))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
