#!/usr/bin/env bash
# OpenCV 5.0.0.93: the colours of a TIFF with transparency are multiplied by it, also when the file is read unchanged.
#
# Expected: the stored colours, as for a PNG and a WebP with transparency: with them in four channels for IMREAD_UNCHANGED,
# without the fourth for IMREAD_COLOR. Seen: of an 8-bit TIFF with unassociated alpha, as Pillow and tifffile write it, each
# colour comes out as colour * alpha / 255 in both, without a message, so that what is transparent is black. Of one with 16
# bits IMREAD_COLOR does so too, and IMREAD_UNCHANGED gives what is stored. Pillow and tifffile read the stored colours.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 pillow==13.0.0 \
    tifffile==2026.3.3 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys

import cv2
import numpy as np
import PIL
import tifffile
from PIL import Image

rgba = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)
rgba[0, 0] = 200, 100, 50, 128
multiplied = np.round(rgba[:, :, :3] * (rgba[:, :, 3:] / 255))
picture = Image.fromarray(rgba)
picture.save("pillow.tif")
picture.save("pillow.png")
picture.save("pillow.webp", lossless=True, exact=True)
tifffile.imwrite("tifffile8.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
tifffile.imwrite("tifffile16.tif", rgba.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"])
print("OpenCV", cv2.__version__, "Pillow", PIL.__version__, "tifffile", tifffile.__version__)
seen = {}
for name in ("pillow.png", "pillow.webp", "pillow.tif", "tifffile8.tif", "tifffile16.tif"):
    for flag in ("IMREAD_COLOR", "IMREAD_UNCHANGED"):
        values = cv2.imread(name, getattr(cv2, flag))
        colours = values[:, :, 2::-1] // (257 if values.dtype == np.uint16 else 1)
        off = [int(np.abs(colours - want).max()) for want in (rgba[:, :, :3].astype(int), multiplied)]
        seen[name, flag] = "stored" if off[0] <= 1 else "multiplied" if off[1] <= 1 else "neither"
        print(f"{name}, {flag}: {seen[name, flag]}; first pixel, stored as 200, 100, 50, alpha 128: {colours[0, 0].tolist()}")
same = all(np.array_equal(np.asarray(Image.open(n)), rgba) for n in ("pillow.tif", "tifffile8.tif"))
same &= np.array_equal(tifffile.imread("pillow.tif"), rgba)
stored = {key for key, kind in seen.items() if kind == "stored"}
dark = {key for key, kind in seen.items() if kind == "multiplied"}
same &= stored == {key for key in seen if not key[0].endswith(".tif")} | {("tifffile16.tif", "IMREAD_UNCHANGED")}
same &= dark == seen.keys() - stored
sys.exit(0 if same else "the behaviour has changed")
PYTHON
