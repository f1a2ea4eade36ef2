#!/usr/bin/env bash
# Pillow 13.0.0: rotate() and transform() of a grey picture of 16 bits with bilinear or bicubic give noise below 256.
#
# Expected: the values of the same picture as 32-bit floats (mode F), which Pillow turns right, and for half a pixel the mean
# of four neighbours, by NumPy, to one step of rounding. Seen: in the mode I;16, in which Pillow opens a PNG of 16-bit grey,
# such as an X-ray or a depth map, every pixel of rotate(10, BILINEAR) is below 256, and neighbours have nothing to do with
# each other: the picture is read as if it had 8 bits. The same for BICUBIC and for transform() with AFFINE and QUAD, and no
# message. NEAREST is right, resize() too, and the modes I and F.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
from PIL import Image
from PIL.Image import Resampling, Transform

print(*(f"{name} {version(name)}" for name in ("pillow", "numpy")))
rows, columns = np.mgrid[:60, :80]
pixels = (20000 + 200 * columns + 137 * rows).astype(np.uint16)
Image.fromarray(pixels).save("grey.png")
grey = Image.open("grey.png")
seen = [grey.mode == "I;16", bool((np.asarray(grey) == pixels).all())]
floats = Image.fromarray(pixels.astype(np.float32))
wholes = Image.fromarray(pixels.astype(np.int32))

# Half a pixel to the right and down: the mean of four neighbours.
half = {"size": (80, 60), "method": Transform.AFFINE, "data": (1, 0, 0.5, 0, 1, 0.5), "resample": Resampling.BILINEAR}
exact = sum(pixels[i : i + 59, j : j + 79].astype(np.float64) for i in (0, 1) for j in (0, 1)) / 4
for name, picture in (("F", floats), ("I", wholes)):
    seen.append(np.abs(np.asarray(picture.transform(**half))[:-1, :-1] - exact).max() <= 1)
corners = (0, 0, 0, 60, 80, 60, 80, 0)
turns = {
    "rotate(10, NEAREST)": lambda picture: picture.rotate(10, Resampling.NEAREST),
    "rotate(10, BILINEAR)": lambda picture: picture.rotate(10, Resampling.BILINEAR),
    "rotate(10, BICUBIC)": lambda picture: picture.rotate(10, Resampling.BICUBIC),
    "transform(AFFINE, BILINEAR)": lambda picture: picture.transform(**half),
    "transform(QUAD, BILINEAR)": lambda picture: picture.transform((80, 60), Transform.QUAD, corners, Resampling.BILINEAR),
    "resize(BILINEAR)": lambda picture: picture.resize((40, 30), Resampling.BILINEAR),
}
for name, turn in turns.items():
    got, right = (np.asarray(turn(picture)).astype(np.float64) for picture in (grey, floats))
    wrong = "resize" not in name and "NEAREST" not in name
    print(f"{name}: I;16 {got[15, 15:20].astype(int).tolist()}, F {right[15, 15:20].round().astype(int).tolist()}")
    # A few pixels on the border between two neighbours may go to the other one under NEAREST.
    seen.append(got.max() < 256 if wrong else np.quantile(np.abs(got - right), 0.99) <= 1)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
