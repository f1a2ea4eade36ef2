#!/usr/bin/env bash
# upng-js 2.1.0 and image-js 1.7.0 (npm): PNGs of fewer than 8 bits a pixel are sheared where a row does not fill its bytes.
#
# Expected: the pixels that were stored, as Pillow reads them: each row of a PNG begins at a new byte. Seen: the bits that
# fill up a row are taken for pixels of the next one, in grey pictures by upng-js (whose README says that it supports all
# depths) and in those with a palette by image-js, with 1, 2 and 4 bits: from the second row on the picture is sheared, and
# its last rows are missing. No message. Widths that fill the bytes are right, and so are palettes in upng-js. Tools that
# make PNGs small, such as oxipng and optipng, choose these depths by themselves for pictures of few colours.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cd "$work"
npm install --silent --ignore-scripts upng-js@2.1.0 image-js@1.7.0 > log 2>&1 || { tail -20 log; exit 1; }
cat > read.mjs <<'NODE'
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { decode } from "image-js";
import UPNG from "upng-js";

const read = {};
for (const name of readdirSync(".").filter((name) => name.endsWith(".png"))) {
  const bytes = readFileSync(name);
  read[name] = { "upng-js": [...new Uint8Array(UPNG.toRGBA8(UPNG.decode(bytes))[0])] };
  if (name.startsWith("palette")) // It refuses grey pictures of 2 and 4 bits with a message.
    read[name]["image-js"] = [...decode(bytes).convertColor("RGBA").getRawImage().data];
}
writeFileSync("read.json", JSON.stringify(read));
NODE
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import json
import struct
import subprocess
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def save(path, pixels, bits, palette):
    """Write (height, width) numbers below 2 ** bits as a PNG of as many bits."""
    planes = pixels[:, :, None] >> np.arange(bits)[::-1] & 1
    rows = np.packbits(planes.reshape(len(pixels), -1).astype(np.uint8), axis=1)
    size = struct.pack(">IIBBBBB", *pixels.shape[::-1], bits, 0 if palette is None else 3, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    colours = b"" if palette is None else chunk(b"PLTE", palette.tobytes())
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + colours + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


random = np.random.default_rng(0)
right = {}
for bits in (1, 2, 4):
    palette = random.permutation(np.arange(2**bits * 3, dtype=np.uint8) * 5).reshape(-1, 3)
    for width in (16, 9):
        pixels = random.integers(0, 2**bits, (20, width))
        greys = np.repeat((pixels * (255 // (2**bits - 1)))[..., None], 3, axis=2)
        for kind, colours, values in (("grey", None, greys), ("palette", palette, palette[pixels])):
            path = Path(f"{kind}-{bits}-{width}.png")
            save(path, pixels, bits, colours)
            right[path.name] = values
subprocess.run(["node", "read.mjs"], check=True)
read = json.loads(Path("read.json").read_text())
for name in ("upng-js", "image-js"):
    print(name, json.loads(Path(f"node_modules/{name}/package.json").read_text())["version"], end=", ")
print("Pillow", version("pillow"))
wrong = {}
for name, values in right.items():
    assert (np.asarray(Image.open(name).convert("RGB")) == values).all()
    for library, numbers in read[name].items():
        off = (np.reshape(numbers, (*values.shape[:2], 4))[..., :3] != values).any(axis=2)
        assert not off[0].any()
        wrong[library, name] = off.mean()
    texts = [f"{library} {wrong[library, name]:.0%}" for library in read[name]]
    print(f"{name}: pixels of another colour:", ", ".join(texts))
seen = [wrong["upng-js", f"grey-{bits}-9.png"] > 0.3 for bits in (1, 2, 4)]
seen += [wrong["image-js", f"palette-{bits}-9.png"] > 0.3 for bits in (1, 2, 4)]
seen += [wrong["upng-js", name] == 0 for name in right if "grey" not in name or "-16" in name]
seen += [wrong["image-js", f"palette-{bits}-16.png"] == 0 for bits in (1, 2, 4)]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
