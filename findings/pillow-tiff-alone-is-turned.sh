#!/usr/bin/env bash
# Pillow 13.0.0: of six formats with the same EXIF orientation, TIFF alone is turned when its pixels are read.
#
# Expected: Image.open() gives pixels as they are stored, whatever the EXIF orientation says, and a program turns them
# itself. Seen: so it is for JPEG, PNG, WebP and AVIF; a TIFF has its turned size from the start, its pixels come out
# upright, and its orientation is 6 before they are read and gone afterwards. JPEG 2000 loses the orientation when it is
# written. A data set that was converted from JPEG to TIFF is seen by a network in another position.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import sys

import PIL
from PIL import Image

stored = Image.new("RGB", (4, 6))
seen = {}
for ending, options in (("jpg", {}), ("png", {}), ("webp", {}), ("avif", {}), ("jp2", {}), ("tif", {})):
    # A new one for each: writing an AVIF takes the orientation out of the Exif that it is given.
    exif = Image.Exif()
    exif[274] = 6
    stored.save(f"picture.{ending}", exif=exif, **options)
    with Image.open(f"picture.{ending}") as opened:
        before = opened.getexif().get(274)
        opened.load()
        seen[ending] = (opened.size, before, opened.getexif().get(274))
print("Pillow", PIL.__version__)
for ending, (size, before, after) in seen.items():
    print(f"{ending}: stored as 4 x 6, read as {size[0]} x {size[1]}, orientation {before} before and {after} after")
plain = dict.fromkeys(("jpg", "png", "webp", "avif"), ((4, 6), 6, 6))
same = seen == plain | {"jp2": ((4, 6), None, None), "tif": ((6, 4), 6, None)}
sys.exit(0 if same else "the behaviour has changed")
PYTHON
