#!/usr/bin/env bash
# onnxruntime-extensions 0.15.2: Resize with keep_aspect_ratio squashes the picture into the given height and width.
#
# Expected: with keep_aspect_ratio=1 the picture keeps its shape: as in Hugging Face's processors of CLIP and ViT, for which
# this chain of DecodeImage, Resize and CenterCrop was made, and in torchvision's Resize, the shorter side becomes 224 and
# the longer one int(224 * longer / shorter), here by Pillow; CenterCrop then takes the middle. Seen: keep_aspect_ratio=1, 0
# and none at all are the same: 224 x 224, byte for byte Pillow's picture of that size, in which a circle is an ellipse, and
# for CenterCrop nothing is left to do. No message. DecodeImage, and CenterCrop by itself, are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version. Without what the package
# requires, onnx, as its image processor needs none of it.
export PIP_CONSTRAINT=/dev/null
"$work/venv/bin/pip" install --quiet --no-deps onnxruntime-extensions==0.15.2 pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import json
import sys
from importlib.metadata import version

import numpy as np
from onnxruntime_extensions.pp_api import ImageProcessor
from PIL import Image, ImageDraw


def step(kind, **attributes):
    return {"operation": {"name": kind.lower(), "type": kind, "attrs": attributes}}


def processed(*steps):
    """Return the picture of the file after DecodeImage and these steps, (H, W, 3) uint8."""
    steps = [step("DecodeImage", color_space="RGB"), *steps]
    processor = ImageProcessor(json.dumps({"processor": {"name": "image_processing", "transforms": steps}}))
    return np.array(processor.to_numpy(processor.pre_process("picture.png"), 0))[0]


def extent(picture):
    """Return the height and width of what is not black."""
    return tuple(int(np.ptp(axis)) + 1 for axis in np.nonzero(picture[..., 0] > 127))


print(*(f"{name} {version(name)}" for name in ("onnxruntime-extensions", "pillow")))
given = Image.new("RGB", (900, 300))
ImageDraw.Draw(given).ellipse((350, 50, 550, 250), fill="white")
given.save("picture.png")
right = np.asarray(given.resize((672, 224), Image.Resampling.BICUBIC))[:, 224:448]
squashed = np.asarray(given.resize((224, 224), Image.Resampling.BICUBIC))
print("given 300 x 900 with a circle; by Pillow, 224 x 672, of its middle the circle is", extent(right))
seen = [bool((processed() == np.asarray(given)).all()), extent(right)[0] == extent(right)[1]]
for choice in ({"keep_aspect_ratio": 1}, {"keep_aspect_ratio": 0}, {}):
    resize = step("Resize", interpolation="CUBIC", height=224, width=224, **choice)
    alone, cropped = processed(resize), processed(resize, step("CenterCrop", height=224, width=224))
    print(f"Resize {choice}: {alone.shape[:2]}, after CenterCrop the circle is {extent(cropped)}")
    seen += [alone.shape == squashed.shape and bool((alone == squashed).all()), bool((cropped == squashed).all())]
middle = processed(step("CenterCrop", height=224, width=224))
seen.append(bool((middle == np.asarray(given)[38:262, 338:562]).all()))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
