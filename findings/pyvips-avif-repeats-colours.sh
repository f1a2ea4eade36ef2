#!/usr/bin/env bash
# pyvips 3.2.0 with pyvips-binary 8.18.7: the colours of an AVIF are repeated over blocks where other readers interpolate.
#
# Expected: Pillow's pixels within two levels, as for a JPEG, where pyvips interpolates the colours too. Seen: of an AVIF
# with a colour value per four pixels (4:2:0), the usual kind and Pillow's own, pyvips gives each block of 2 x 2 pixels its
# one colour, Pillow and OpenCV blend it with the neighbours': at coloured edges the readers are tens of levels apart. With
# 4:4:4 they agree. A data set of AVIF that is embedded with one reader and queried with the other has other pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 pillow==13.0.0 \
    opencv-python-headless==5.0.0.93 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import cv2
import numpy as np
import pyvips
from PIL import Image

# Discs of three colours on a grey ground.
y, x = np.mgrid[:96, :128]
pixels = np.full((96, 128, 3), 128, np.uint8)
for centre, colour in ((25, (220, 30, 40)), (65, (30, 160, 60)), (103, (40, 60, 220))):
    pixels[(y - 48) ** 2 + (x - centre) ** 2 < 18**2] = colour
picture = Image.fromarray(pixels)


def uneven(values):
    """How much the blue difference (BT.601) varies within blocks of 2 x 2, in levels."""
    blue = (values[:, :, 2] - values @ [0.299, 0.587, 0.114]) / 1.772
    blocks = blue.reshape(48, 2, 64, 2)
    return np.abs(blocks - blocks.mean(axis=(1, 3), keepdims=True)).max()


print(*(f"{name} {version(name)}" for name in ("pyvips", "pyvips-binary", "Pillow", "opencv-python-headless")))
off, blocky = {}, {}
for kind, subsampling in (("jpg", "4:2:0"), ("avif", "4:4:4"), ("avif", "4:2:0")):
    name = f"picture_{subsampling.replace(':', '')}.{kind}"
    picture.save(name, quality=90, subsampling=subsampling)
    pillow = np.asarray(Image.open(name)).astype(float)
    readers = {
        "pyvips": pyvips.Image.new_from_file(name).numpy().astype(float),
        "OpenCV": cv2.imread(name)[:, :, ::-1].astype(float),
    }
    blocky[kind, subsampling, "Pillow"] = uneven(pillow)
    for reader, values in readers.items():
        off[kind, subsampling, reader] = np.abs(values - pillow).max()
        blocky[kind, subsampling, reader] = uneven(values)
        print(f"{kind} {subsampling}, {reader}: at most {off[kind, subsampling, reader]:.0f} levels from Pillow,", end=" ")
        print(f"blue varies by {uneven(values):.1f} in a block, Pillow's by {uneven(pillow):.1f}")
key = ("avif", "4:2:0", "pyvips")
same = off.pop(key) > 20 and max(off.values()) <= 2
same &= blocky[key] < 2 and blocky["avif", "4:2:0", "Pillow"] > 5
sys.exit(0 if same else "the behaviour has changed")
PYTHON
