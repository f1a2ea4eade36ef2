#!/usr/bin/env bash
# kornia-rs 0.2.0: a PNG with a palette is read as a grey picture of its indices, and a TIFF stored band after band as if
# it were pixel after pixel; no message.
#
# Expected: the colours, or a refusal, as for a PNG of 4 bits or a TIFF with a palette. Seen: read_image() gives a palette's
# indices as (H, W, 1) uint8, as if the file were grey, and a TIFF of separate planes as (H, W, 3) whose first rows are the
# red values alone, three of them a pixel. Pillow and OpenCV read the colours of both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet kornia-rs==0.2.0 opencv-python-headless==5.0.0.93 \
    pillow==13.0.0 tifffile==2026.3.3 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import cv2
import kornia_rs
import numpy as np
import tifffile
from PIL import Image

random = np.random.default_rng(0)
rgb = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
indices = random.integers(0, 256, (48, 64), dtype=np.uint8)
with_palette = Image.fromarray(indices, "L").convert("P")
with_palette.putpalette(random.integers(0, 256, 768, dtype=np.uint8).tobytes())
with_palette.save("palette.png")
tifffile.imwrite("chunky.tif", rgb, photometric="rgb")
tifffile.imwrite("planar.tif", rgb.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
colours = {"palette.png": np.asarray(with_palette.convert("RGB")), "chunky.tif": rgb, "planar.tif": rgb}
print(*(f"{name} {version(name)}" for name in ("kornia-rs", "opencv-python-headless", "Pillow")))
same, got = True, {}
for name, want in colours.items():
    got[name] = np.asarray(kornia_rs.read_image(name))
    right = np.array_equal(got[name], want)
    print(f"{name}: kornia-rs gives {got[name].shape}, {'the colours' if right else 'OTHER VALUES'}")
    same &= right == (name == "chunky.tif")
    same &= np.array_equal(cv2.imread(name)[:, :, ::-1], want)
    same &= np.array_equal(np.asarray(Image.open(name).convert("RGB")), want)
same &= np.array_equal(got["palette.png"], indices[:, :, None])
same &= np.array_equal(got["planar.tif"].ravel(), rgb.transpose(2, 0, 1).ravel())
print("palette.png is its indices, planar.tif its planes one after the other:", same)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
