#!/usr/bin/env bash
# NVIDIA DALI 2.4.0: on the CPU, pictures of 10 or 12 bits, and PNM files of another maximum than 255, come out dark.
#
# Expected: DALI's documentation of decoders.image says of dtype that "values will be converted to the dynamic range of the
# requested type", and the range that is stored is in the file: JPEG 2000 has it in its header (ISO/IEC 15444-1, Ssiz), PNM
# as its maximum. So 4095 of 12 bits is 255 as UINT8 and 65535 as UINT16. Seen: the picture is taken for one of 16 bits, or
# of 8: 12 bits are read at 1/16 of their brightness, 10 bits at 1/64, and a PPM of the maximum 100 at 100/255. No message.
# 8 and 16 bits are right. Medical and satellite pictures are JPEG 2000 of 10 to 12 bits. The expected values are those that
# NumPy wrote into the files, times 255 or 65535; imagecodecs reads back from the JPEG 2000 files what was written.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
export PIP_CONSTRAINT=/dev/null
"$work/venv/bin/pip" install --quiet nvidia-dali-cuda120==2.4.0 imagecodecs==2026.3.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import imagecodecs
import numpy as np
from nvidia.dali import fn, pipeline_def, types


def decoded(file, dtype):
    """Return the picture in a file's bytes, (H, W, 3), as DALI decodes it on the CPU."""

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        data = fn.external_source(source=lambda: [np.frombuffer(file, np.uint8)])
        return fn.decoders.image(data, output_type=types.RGB, dtype=dtype)

    return np.array(pipeline().run()[0].at(0))


def jpeg2000(bits):
    pixels = (ramp * (2**bits - 1)).round().astype(np.uint16 if bits > 8 else np.uint8)
    file = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits)
    assert (imagecodecs.jpeg2k_decode(file) == pixels).all()
    return file


print(*(f"{name} {version(name)}" for name in ("nvidia-dali-cuda120", "nvidia-nvimgcodec-cu12", "imagecodecs")))
# From black to white, from right to left in the second channel.
ramp = np.stack([np.tile(np.linspace(0, 1, 64), (48, 1))] * 3, axis=-1)
ramp[..., 1] = ramp[:, ::-1, 1]
factors = {8: 1, 10: 1 / 64, 12: 1 / 16, 16: 1}
files = [(f"JPEG 2000 of {bits} bits", jpeg2000(bits), factor) for bits, factor in factors.items()]
for highest in (255, 100):
    pixels = (ramp * highest).round().astype(np.uint8)
    files.append((f"PPM of the maximum {highest}", b"P6 64 48 %d\n" % highest + pixels.tobytes(), highest / 255))
seen = []
for name, file, factor in files:
    small, large = decoded(file, types.UINT8), decoded(file, types.UINT16)
    print(f"{name}: white is {small.max()} as UINT8 and {large.max()} as UINT16")
    seen.append(np.abs(small - 255 * ramp * factor).max() < 1.5)
    seen.append(np.abs(large - 65535 * ramp * factor).max() < 300)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
