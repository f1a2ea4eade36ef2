#!/usr/bin/env bash
# datasets 5.2.0: a colour picture of 16 bits, given as an array, keeps the low byte of each value.
#
# Expected: the high byte, as Pillow takes of a 16-bit RGB PNG, or an error, as for float32. Seen: an array (H, W, 3) of
# uint16, or of any wider integer, is stored as a PNG of each value modulo 256, which looks like noise; the warning speaks of
# "Downcasting ... to be compatible with 'Pillow'". A grey array of uint16 is stored whole, and that of int64 beyond 32 bits
# is cut as well. to_parquet(), push_to_hub() and map() store what was made.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/cache" "$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
import warnings
from importlib.metadata import version

import numpy as np
from datasets import Dataset, Features, Image


def stored(array):
    """Return the picture as it comes out of a data set, and the warnings on the way in."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = Dataset.from_dict({"image": [array]}, features=Features({"image": Image()}))
    return np.asarray(dataset[0]["image"]), [str(warning.message) for warning in caught]


print(*(f"{name} {version(name)}" for name in ("datasets", "pillow")))
# A smooth ramp over all values of 16 bits.
ramp = np.linspace(0, 65535, 64 * 64 * 3).round().astype(np.uint16).reshape(64, 64, 3)
seen = []
for kind in (np.uint16, np.int64):
    got, said = stored(ramp.astype(kind))
    low = np.array_equal(got, ramp % 256)
    print(f"{kind.__name__} (64, 64, 3): {ramp[20, 20]} becomes {got[20, 20]}, its low bytes: {low}; {said}")
    seen += [got.dtype == np.uint8, low, any("Downcasting" in text for text in said)]
grey, _ = stored(ramp[:, :, 0])
print(f"uint16 (64, 64): equal {np.array_equal(grey, ramp[:, :, 0])}")
wide, _ = stored(np.array([[2**33 + 5, 7]]))
print(f"int64 {[2**33 + 5, 7]} becomes {wide[0].tolist()}")
sys.exit(0 if all(seen) and np.array_equal(grey, ramp[:, :, 0]) and wide[0].tolist() == [5, 7] else "the behaviour has changed")
PYTHON
