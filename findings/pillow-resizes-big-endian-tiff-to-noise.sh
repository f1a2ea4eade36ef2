#!/usr/bin/env bash
# Pillow 13.0.0: resize() and thumbnail() of a TIFF of 16-bit grey in big-endian order give noise.
#
# Expected: the values that the same picture in little-endian order has, and that a box filter of 2 x 2 pixels has by NumPy.
# Seen: a big-endian TIFF, as ImageJ and many microscopes and scanners write it, is opened in the mode I;16B and its pixels
# are right, but resize() with BILINEAR, BICUBIC, LANCZOS or BOX, and thumbnail(), give other values: of a smooth ramp
# around 30000 the mean error is some 20000 to 30000. No message. NEAREST is right, and so is the little-endian file, whose
# mode is I;16, and the same picture converted to mode I or F first.
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
from PIL.Image import Resampling


def thumbnail(picture):
    small = picture.copy()
    small.thumbnail((40, 30))
    return small


print(*(f"{name} {version(name)}" for name in ("pillow", "numpy")))
rows, columns = np.mgrid[:60, :80]
pixels = (20000 + 200 * columns + 137 * rows).astype(np.uint16)
exact = pixels.reshape(30, 2, 40, 2).mean(axis=(1, 3))
seen = []
pictures = {}
for order, mode in (("<", "I;16"), (">", "I;16B")):
    Image.fromarray(pixels.astype(f"{order}u2")).save(f"{mode[-1]}.tiff")
    pictures[order] = Image.open(f"{mode[-1]}.tiff")
    seen += [pictures[order].mode == mode, bool((np.asarray(pictures[order]) == pixels).all())]
filters = (Resampling.NEAREST, Resampling.BOX, Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS)
ways = {f"resize({kind.name})": lambda picture, kind=kind: picture.resize((40, 30), kind) for kind in filters}
for name, way in (ways | {"thumbnail()": thumbnail}).items():
    little, big = (np.asarray(way(pictures[order])).astype(np.float64) for order in "<>")
    floats = np.asarray(way(pictures[">"].convert("I").convert("F")))
    print(f"{name}: little-endian {little[15, 15:19].astype(int)}, big-endian {big[15, 15:19].astype(int)}")
    seen.append(np.abs(little - floats).max() <= 1)
    seen.append(np.array_equal(big, little) if "NEAREST" in name else np.abs(big - little).mean() > 5000)
    if "BOX" in name:
        seen.append(np.abs(little - exact).max() <= 1)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
