#!/usr/bin/env bash
# Pillow 13.0.0: converting floats to 16 bits cuts everything above 255 off.
#
# Expected: convert("I;16") of floats (mode F), such as a depth map in millimetres, keeps what 16 bits hold, 0 to
# 65535, as it does for a picture of 32-bit integers (mode I), and as convert("I") of the floats does for 32 bits: NumPy's
# clip of the whole numbers. Seen: all above 255 becomes 255, as if the picture had gone through 8 bits, and a depth map
# saved as a 16-bit PNG is white from 255 mm on. No message. convert("I") before convert("I;16") is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("pillow", "numpy")))
depths = np.array([[-5, 0, 7, 254, 255, 256, 1500, 4096, 65535, 70000]], np.float32)
right = np.clip(depths, 0, 65535)
floats = Image.fromarray(depths)
wholes = floats.convert("I")
direct, by_wholes = floats.convert("I;16"), wholes.convert("I;16")
direct.save("depth.png")
saved = np.asarray(Image.open("depth.png"))
for name, values in (("floats", depths), ("I;16", np.asarray(direct)), ("I, then I;16", np.asarray(by_wholes))):
    print(f"{name}: {values[0].astype(int).tolist()}")
seen = [floats.mode == "F", direct.mode == "I;16", bool((np.asarray(wholes) == depths).all())]
seen += [bool((np.asarray(by_wholes) == right).all()), bool((np.asarray(direct) == np.clip(depths, 0, 255)).all())]
seen += [bool((saved == np.asarray(direct)).all())]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
