#!/usr/bin/env bash
# Pillow 13.0.0: an uncompressed TIFF of three 16-bit bands, stored band after band, is read as another picture.
#
# Expected: the high byte of every value, as in a TIFF whose bands are interleaved, or an error. Seen: so it is when the
# file is compressed; without compression the bytes of each 16-bit value become two neighbouring pixels, so that low
# bytes stand between the high ones and half of the picture is missing. No warning comes. GDAL's INTERLEAVE=BAND makes such
# files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 tifffile==2026.3.3 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image

rows, columns = np.mgrid[0:64, 0:96]
picture = np.stack([columns * 600, rows * 900, (rows + columns) * 400], axis=-1).astype(np.uint16)
bands = np.ascontiguousarray(np.moveaxis(picture, 2, 0))
files = {
    "interleaved": (picture, {}),
    "band after band, zlib": (bands, {"planarconfig": "separate", "compression": "zlib"}),
    "band after band": (bands, {"planarconfig": "separate"}),
}
print("Pillow", PIL.__version__)
print("first red values of row 5, high bytes:", (picture[5, :8, 0] >> 8).tolist())
right = {}
for name, (values, options) in files.items():
    tifffile.imwrite("picture.tif", values, photometric="rgb", **options)
    assert (tifffile.imread("picture.tif") == values).all()
    with Image.open("picture.tif") as opened:
        mode, pixels = opened.mode, np.asarray(opened)
    right[name] = bool((pixels == picture >> 8).all())
    print(f"{name}: mode {mode}, {pixels[5, :8, 0].tolist()}, {'right' if right[name] else 'wrong'}")
seen = right == {"interleaved": True, "band after band, zlib": True, "band after band": False}
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
