#!/usr/bin/env bash
# Pillow 13.0.0: saving a picture as AVIF takes the orientation out of the Exif object that the caller gave.
#
# Expected: save(…, exif=exif) leaves the caller's object as it is, as the other formats do. Seen: after an AVIF the object
# has no orientation, so that a JPEG, PNG or WebP saved with it next has none either and is shown lying down. The AVIF
# itself keeps the orientation.
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

ORIENTATION = 274
picture, kept, written = Image.new("RGB", (4, 6)), {}, {}
print("Pillow", PIL.__version__)
for ending in ("jpg", "png", "webp", "avif"):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture.save(f"first.{ending}", exif=exif)
    kept[ending] = exif.get(ORIENTATION)
    picture.save("next.jpg", exif=exif)
    written[ending] = [Image.open(file).getexif().get(ORIENTATION) for file in (f"first.{ending}", "next.jpg")]
    print(f"orientation after saving {ending}: {kept[ending]}; in the file {written[ending][0]}, in a JPEG saved next "
          f"{written[ending][1]}")
wanted = {ending: [6, 6] for ending in ("jpg", "png", "webp")} | {"avif": [6, None]}
sys.exit(0 if kept == {"jpg": 6, "png": 6, "webp": 6, "avif": None} and written == wanted else "the behaviour has changed")
PYTHON
