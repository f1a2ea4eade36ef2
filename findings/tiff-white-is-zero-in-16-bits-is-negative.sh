#!/usr/bin/env bash
# Pillow 13.0.0 and OpenCV 5.0.0.93: a 16-bit greyscale TIFF in which zero is white is read as its negative.
#
# Expected: the tag PhotometricInterpretation = WhiteIsZero is followed at every depth, or at none. Seen: both libraries
# turn an 8-bit file round, so that white is 255; of the 16-bit file with the same picture they hand out the stored
# values, black for white. The mode and the type do not tell the two apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 opencv-python-headless==5.0.0.93 tifffile==2026.3.3 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import cv2
import numpy as np
import PIL
import tifffile
from PIL import Image

# From black on the left to white on the right; a WhiteIsZero file stores the complement.
ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
shown = {8: ramp, 16: ramp.astype(np.uint16) * 257}
print("Pillow", PIL.__version__, "OpenCV", cv2.__version__)
seen = {}
for depth, values in shown.items():
    for photometric in ("minisblack", "miniswhite"):
        stored = values if photometric == "minisblack" else np.iinfo(values.dtype).max - values
        tifffile.imwrite("picture.tif", stored, photometric=photometric)
        with Image.open("picture.tif") as opened:
            mode, by_pillow = opened.mode, np.asarray(opened)
        by_opencv = cv2.imread("picture.tif", cv2.IMREAD_UNCHANGED)
        for library, read in (("Pillow", by_pillow), ("OpenCV", by_opencv)):
            same, negative = (read == values).all(), (read == np.iinfo(values.dtype).max - values).all()
            seen[depth, photometric, library] = "right" if same else "negative" if negative else "another picture"
        print(f"{depth} bit, {photometric}: Pillow ({mode}) {seen[depth, photometric, 'Pillow']}, "
              f"OpenCV ({by_opencv.dtype}) {seen[depth, photometric, 'OpenCV']}")
wanted = {key: "negative" if key[:2] == (16, "miniswhite") else "right" for key in seen}
sys.exit(0 if seen == wanted else "the behaviour has changed")
PYTHON
