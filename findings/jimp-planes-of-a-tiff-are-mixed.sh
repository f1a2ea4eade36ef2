#!/usr/bin/env bash
# Jimp 1.6.1 and utif2 4.1.0 (npm): a colour TIFF stored band after band is a strip of wrong colours above black.
#
# Expected: the pixels that tifffile wrote, as Pillow and sharp read them. Seen: both take the bands for pixel after pixel:
# the red band becomes the upper third of the picture, three neighbours of a row being the red, green and blue of one pixel,
# and the lower two thirds are black. With and without compression, in one strip a band or several; no message (utif2 has
# one, which is printed only where NODE_ENV is "development"). PlanarConfiguration 2 is common in pictures of microscopes
# and satellites. The same picture stored pixel after pixel, in strips or tiles, is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet tifffile==2026.3.3 pillow==13.0.0 numpy==2.4.6
cd "$work"
npm install --silent --ignore-scripts jimp@1.6.1 utif2@4.1.0 sharp@0.35.5 > log 2>&1 || { tail -20 log; exit 1; }
cat > read.mjs <<'NODE'
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { Jimp } from "jimp";
import sharp from "sharp";
import UTIF from "utif2";

for (const name of readdirSync(".").filter((name) => name.endsWith(".tif"))) {
  const bytes = readFileSync(name);
  writeFileSync(`${name}.jimp`, (await Jimp.read(bytes)).bitmap.data);
  const [page] = UTIF.decode(bytes);
  UTIF.decodeImage(bytes, page);
  writeFileSync(`${name}.utif2`, UTIF.toRGBA8(page));
  writeFileSync(`${name}.sharp`, await sharp(bytes).ensureAlpha().raw().toBuffer());
}
NODE
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

picture = np.random.default_rng(0).integers(1, 256, (48, 60, 3), dtype=np.uint8)
bands = np.ascontiguousarray(picture.transpose(2, 0, 1))
planar = {"planarconfig": "separate"}
files = {
    "bands": planar,
    "bands, strips of 8 rows": planar | {"rowsperstrip": 8},
    "bands, deflate": planar | {"compression": "zlib"},
    "pixels": {},
    "pixels, tiles": {"tile": (16, 16)},
    "pixels, deflate": {"compression": "zlib"},
}
for name, options in files.items():
    data = bands if name.startswith("bands") else picture
    tifffile.imwrite(f"{name}.tif", data, photometric="rgb", **options)
    assert (np.asarray(Image.open(f"{name}.tif")) == picture).all()
subprocess.run(["node", "read.mjs"], check=True, stdout=subprocess.DEVNULL)
for name in ("jimp", "utif2", "sharp"):
    print(name, json.loads(Path(f"node_modules/{name}/package.json").read_text())["version"], end=", ")
print("tifffile", version("tifffile"))
squeezed = np.zeros_like(picture)
squeezed[:16] = bands[0].reshape(16, 60, 3)
seen = []
for name in files:
    got = {
        library: np.fromfile(f"{name}.tif.{library}", np.uint8).reshape(48, 60, 4)[..., :3]
        for library in ("jimp", "utif2", "sharp")
    }
    wrong = ", ".join(f"{library} {(pixels != picture).any(axis=2).mean():.0%}" for library, pixels in got.items())
    print(f"{name}: wrong pixels: {wrong}; black in Jimp {(got['jimp'] == 0).all(axis=2).mean():.0%}")
    seen.append(np.array_equal(got["sharp"], picture))
    for library in ("jimp", "utif2"):
        if not name.startswith("bands"):
            seen.append(np.array_equal(got[library], picture))
        elif "strips" in name:
            seen.append((got[library] != picture).any(axis=2).mean() > 0.9)
        else:
            seen.append(np.array_equal(got[library], squeezed))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
