#!/usr/bin/env bash
# OpenCV 5.0.0.93: a colour PNG that says it is sRGB is read grey with other values than one that does not say so.
#
# Expected: reading grey is 0.299 R + 0.587 G + 0.114 B of the stored values, as it is for a JPEG, for cvtColor() and for
# Pillow. Seen: when the file has a chunk sRGB or gAMA, as files of several drawing programs have, IMREAD_GRAYSCALE
# takes the gamma off, weighs the light and puts the gamma on again: the same pixels come out by up to a quarter of the range
# and more brighter (pure red is 147 and not 76). Read in colour, the files are equal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import struct
import sys
from importlib.metadata import version

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
pixels[0, 0] = 255, 0, 0
CHUNKS = {"none": None, "sRGB": (b"sRGB", b"\0"), "gAMA 1/2.2": (b"gAMA", struct.pack(">I", 45455))}
LUMA = np.array([0.299, 0.587, 0.114])


def off(grey):
    return np.abs(grey.astype(float) - pixels @ LUMA).max()


print(*(f"{name} {version(name)}" for name in ("opencv-python-headless", "Pillow")))
same = True
for name, chunk in CHUNKS.items():
    information = PngInfo()
    if chunk is not None:
        information.add(*chunk)
    Image.fromarray(pixels).save("picture.png", pnginfo=information)
    in_colour = cv2.imread("picture.png")
    readers = {
        "OpenCV": cv2.imread("picture.png", cv2.IMREAD_GRAYSCALE),
        "OpenCV in colour, then cvtColor()": cv2.cvtColor(in_colour, cv2.COLOR_BGR2GRAY),
        "Pillow": np.asarray(Image.open("picture.png").convert("L")),
    }
    same &= np.array_equal(in_colour[:, :, ::-1], pixels)
    for reader, grey in readers.items():
        print(f"chunk {name}, {reader}: red is {grey[0, 0]}, at most {off(grey):.1f} from 0.299 R + 0.587 G + 0.114 B")
        changed = chunk is not None and reader == "OpenCV"
        same &= off(grey) > 40 if changed else off(grey) < 2
sys.exit(0 if same else "the behaviour has changed")
PYTHON
