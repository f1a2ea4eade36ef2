#!/usr/bin/env bash
# Pillow 13.0.0: the white of a colour JPEG 2000 of more than 8 bits is read as black.
#
# Expected: Pillow reads such a file as 8 bits, so the largest value, 4095 of 12 bits, is 255 (ISO/IEC 15444-1 has the number
# of bits in the header; value * 255 / 4095, by NumPy, within 1.6 levels). Seen: the value is divided by 16 and rounded, so
# that all from 4088 on is 256, and 256 is stored as 0: the brightest 0.2 % of the range, of which an overexposed sky is
# made, is black, each channel for itself, and an opaque alpha is transparent. No message. The same with 9, 10, 14 and 16
# bits, and with grey and alpha; 8 bits are right. OpenCV reads the values as they were stored.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
export PIP_CONSTRAINT=/dev/null
"$work/venv/bin/pip" install --quiet pillow==13.0.0 imagecodecs==2026.3.6 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import io
import sys
from importlib.metadata import version

import cv2
import imagecodecs
import numpy as np
from PIL import Image


def stored(pixels, bits):
    """Return the bytes of a lossless JPEG 2000 file of these values, and check them with OpenCV."""
    file = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits)
    if pixels.shape[2] == 3:
        assert (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1] == pixels).all()
    return file


print(*(f"{name} {version(name)}" for name in ("pillow", "imagecodecs", "opencv-python-headless")))
seen = []
for bits in (8, 9, 10, 12, 14, 16):
    highest = 2**bits - 1
    for channels in (3, 4, 2):
        # A ramp up to one level of 8 bits below white, and white.
        levels = np.append(np.linspace(0, highest - 2 ** (bits - 8), 63).astype(int), highest)
        pixels = np.tile(levels[None, :, None], (16, 1, channels)).astype(np.uint8 if bits == 8 else np.uint16)
        picture = Image.open(io.BytesIO(stored(pixels, bits)))
        got = np.asarray(picture).astype(int)
        right = pixels * (255 / highest)
        seen.append(np.abs(got - right)[:, :-1].max() < 1.6)
        seen.append(got[:, -1].max() == got[:, -1].min() == (255 if bits == 8 else 0))
        print(f"{bits} bits, {picture.mode}: {highest - 2 ** (bits - 8)} is {got[0, -2]}, white, {highest}, is {got[0, -1]}")

# Red sky: overexposed in red alone.
pixels = np.full((16, 16, 3), (65535, 40000, 20000), np.uint16)
picture = Image.open(io.BytesIO(stored(pixels, 16)))
print("16 bits: (65535, 40000, 20000) is", picture.getpixel((0, 0)))
seen.append(picture.getpixel((0, 0)) == (0, 156, 78))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
