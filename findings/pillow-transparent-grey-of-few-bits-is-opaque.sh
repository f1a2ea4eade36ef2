#!/usr/bin/env bash
# Pillow 13.0.0: the transparent grey of a PNG of 2 or 4 bits becomes opaque in RGBA.
#
# Expected: the pixels of the grey that the chunk tRNS names have the alpha 0, as with 1 and 8 bits. Seen: open() turns the
# pixels of 2 and 4 bits into 8 bits, times 85 or 17, but leaves the number in info["transparency"] as it is in the file: no
# pixel has it, and convert("RGBA") and convert("LA") make all pixels opaque. No message. Only black (0) is right. Saved as
# PNG again, of 8 bits and with the same number, the picture has lost its transparency for every reader. Tools that make
# PNGs small choose these depths by themselves for pictures of few greys.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import io
import struct
import sys
import zlib
from importlib.metadata import version

import numpy as np
from PIL import Image


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels, bits, transparent):
    """Return a grey PNG of (height, width) numbers below 2 ** bits."""
    planes = pixels[:, :, None] >> np.arange(bits)[::-1] & 1
    rows = np.packbits(planes.reshape(len(pixels), -1).astype(np.uint8), axis=1)
    size = struct.pack(">IIBBBBB", *pixels.shape[::-1], bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = ((b"IHDR", size), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


print("pillow", version("pillow"))
seen = []
random = np.random.default_rng(0)
for bits in (1, 2, 4, 8):
    for transparent in (0, 1, 2**bits - 1):
        pixels = random.integers(0, 2**bits, (16, 16))
        pixels[:4] = transparent
        file = png(pixels, bits, transparent)
        right = pixels == transparent
        image = Image.open(io.BytesIO(file))
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        grey_alpha = np.asarray(image.convert("LA"))[..., 1]
        again = io.BytesIO()
        image.save(again, "PNG")
        saved = np.asarray(Image.open(again).convert("RGBA"))[..., 3]
        assert (np.asarray(image.convert("L")) == pixels * (255 // (2**bits - 1))).all()
        print(
            f"{bits} bits, grey {transparent} is transparent: Pillow's number {image.info['transparency']},"
            f" {np.sum(alpha == 0)} of {right.sum()} transparent pixels, saved again {np.sum(saved == 0)}"
        )
        lost = bits in (2, 4) and transparent > 0
        seen += [np.array_equal(numbers == 0, right & (not lost)) for numbers in (alpha, grey_alpha, saved)]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
