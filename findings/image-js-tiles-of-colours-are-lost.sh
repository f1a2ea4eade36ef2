#!/usr/bin/env bash
# image-js 1.7.0 (npm): a colour TIFF stored in tiles is decoded to other pixels, without a message.
#
# Expected: the pixels that tifffile wrote, as Pillow and sharp read them. Seen: every pixel is wrong: the red, green and blue
# of the first pixel are the red of the first three, whose green and blue are 0. With and without compression, for tiles of
# any size, also one tile for the whole picture. Grey pictures in tiles, and colour ones in strips, are right. TIFFs of
# microscopes and satellites (pyramids, cloud-optimised GeoTIFF) are stored in tiles.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet tifffile==2026.3.3 pillow==13.0.0 numpy==2.4.6
cd "$work"
npm install --silent --ignore-scripts image-js@1.7.0 sharp@0.35.5 > log 2>&1 || { tail -20 log; exit 1; }
cat > read.mjs <<'NODE'
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { decode } from "image-js";
import sharp from "sharp";

for (const name of readdirSync(".").filter((name) => name.endsWith(".tif"))) {
  const bytes = readFileSync(name);
  writeFileSync(`${name}.image-js`, decode(bytes).getRawImage().data);
  writeFileSync(`${name}.sharp`, await sharp(bytes).raw().toBuffer());
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

picture = np.random.default_rng(0).integers(1, 256, (64, 64, 3), dtype=np.uint8)
files = {
    "strips": {},
    "tiles of 16": {"tile": (16, 16)},
    "tiles of 32": {"tile": (32, 32)},
    "tiles of 32, deflate": {"tile": (32, 32), "compression": "zlib"},
    "one tile of 64": {"tile": (64, 64)},
    "grey, tiles of 16": {"tile": (16, 16)},
}
right = {}
for name, options in files.items():
    right[name] = picture[..., 0].copy() if "grey" in name else picture
    tifffile.imwrite(f"{name}.tif", right[name], photometric="minisblack" if "grey" in name else "rgb", **options)
    assert (np.asarray(Image.open(f"{name}.tif")) == right[name]).all()
subprocess.run(["node", "read.mjs"], check=True)
for name in ("image-js", "tiff", "sharp"):
    print(name, json.loads(Path(f"node_modules/{name}/package.json").read_text())["version"], end=", ")
print("tifffile", version("tifffile"))
seen = []
for name, values in right.items():
    got = {
        library: np.fromfile(f"{name}.tif.{library}", np.uint8).reshape(64, 64, -1)
        for library in ("image-js", "sharp")
    }
    wrong = {
        library: (pixels[..., : values.size // 4096] != values.reshape(64, 64, -1)).any(axis=2).mean()
        for library, pixels in got.items()
    }
    print(f"{name}: wrong pixels: image-js {wrong['image-js']:.0%}, sharp {wrong['sharp']:.0%};", end=" ")
    print("first pixel", got["image-js"][0, 0].tolist(), "stored", np.atleast_1d(values[0, 0]).tolist())
    colour_tiles = "tile" in name and "grey" not in name
    seen += [wrong["image-js"] > 0.99 if colour_tiles else wrong["image-js"] == 0, wrong["sharp"] == 0]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
