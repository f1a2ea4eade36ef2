#!/usr/bin/env bash
# Pillow 13.0.0: the fourth band of an RGBX picture is lost, in two ways, without a warning.
#
# Expected: a picture of four bands, such as a camera with near infrared gives, keeps them when it is saved as TIFF or
# converted to another mode of four bands. Seen: convert("RGBA") puts 255 in place of the band, and a TIFF that Pillow
# wrote itself opens again in mode RGB, without the band.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import PIL
from PIL import Image

bands = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
picture = Image.frombytes("RGBX", (4, 4), bands.tobytes())
assert (np.asarray(picture) == bands).all()
converted = np.asarray(picture.convert("RGBA"))
picture.save("bands.tif")
opened = Image.open("bands.tif")
print("Pillow", PIL.__version__)
print("fourth band after convert('RGBA'):", sorted(set(converted[..., 3].ravel().tolist())))
print("mode after saving as TIFF and opening:", opened.mode)
seen = set(converted[..., 3].ravel().tolist()) == {255} and opened.mode == "RGB"
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
