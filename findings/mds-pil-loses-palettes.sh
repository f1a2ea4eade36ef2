#!/usr/bin/env bash
# mosaicml-streaming 0.13.0: MDS's encoding "pil" does not store a palette; a red and blue picture comes back black.
#
# Expected: a sample that is read is the sample that was written. Seen: of a PNG or GIF with a palette (Pillow's mode P) the
# encoding "pil" stores the mode, the size and the indices of the colours, not the palette: the picture is of mode P as
# before, and black or nearly so once it is converted to RGB. Likewise "ndarray" does not store the order of bytes: of
# big-endian numbers (">f4", as IDX and FITS files have them) 1.0 comes back as 4.6e-41. No message. The encoding "png",
# and RGB, RGBA, grey, 16-bit and two-coloured pictures, are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version. Without what the package
# requires, among it PyTorch: its file of encodings, which its writer and reader call, is loaded alone and needs little.
export PIP_CONSTRAINT=/dev/null
"$work/venv/bin/pip" install --quiet pillow==13.0.0 'numpy<2.2' typing-extensions
"$work/venv/bin/pip" install --quiet --no-deps mosaicml-streaming==0.13.0
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import distribution, version
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
from PIL import Image

path = distribution("mosaicml-streaming").locate_file("streaming/base/format/mds/encodings.py")
spec = spec_from_file_location("encodings_of_mds", path)
mds = module_from_spec(spec)
sys.modules[spec.name] = mds
spec.loader.exec_module(mds)


def written_and_read(encoding, value):
    assert mds.is_mds_encoding(encoding)
    return mds.mds_decode(encoding, mds.mds_encode(encoding, value))


def colours(picture):
    return np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0).tolist()


print("mosaicml-streaming", version("mosaicml-streaming"), "Pillow", version("pillow"))
pixels = np.zeros((32, 32, 3), np.uint8)
pixels[:16] = 200, 30, 10
pixels[16:] = 10, 60, 220
picture = Image.fromarray(pixels)
picture.quantize(2).save("palette.png")
seen = []
for mode in ("P", "RGB", "RGBA", "L", "1", "I;16"):
    given = {"P": Image.open("palette.png"), "I;16": Image.fromarray(pixels[..., 2].astype(np.uint16) * 257)}.get(mode)
    given = given or picture.convert(mode)
    got = written_and_read("pil", given)
    print(f"pil, mode {mode}: given {colours(given)}, read {got.mode} {colours(got)}")
    seen += [got.mode == mode, bool((np.asarray(got) == np.asarray(given)).all())]
    seen.append(max(colours(got)[-1]) <= 1 if mode == "P" else colours(got) == colours(given))
given = Image.open("palette.png")
seen.append(colours(written_and_read("png", given)) == colours(given))
numbers = np.array([1, 2, 3], ">f4")
got = written_and_read("ndarray", numbers)
print("ndarray, big-endian: given", numbers, "read", got)
seen += [bool((got == numbers.view("<f4")).all()), bool((written_and_read("ndarray", numbers.astype("<f4")) == numbers).all())]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
