#!/usr/bin/env bash
# pyarrow 26.0.1: pictures in a fixed-shape tensor column with a permutation come back with other pixels or another shape.
#
# Expected: Arrow's format says that the i-th dimension of the logical tensor is dimension permutation[i] of the stored one, so
# pictures stored as (height, width, channels) with the permutation [2, 0, 1] are (channels, height, width); and what
# from_numpy_ndarray() was given is what to_numpy_ndarray() gives. Seen: to_numpy_ndarray() of that column has the right
# shape and other pixels; a batch of (channels, height, width) that from_numpy_ndarray() was shown as (height, width,
# channels) comes back in another shape; the other way round it is refused with "strides must not involve buffer over run".
# A swap of two dimensions is right, except in a single tensor, array[i].to_numpy(), where the first is one of the two. The
# stored values are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pyarrow==26.0.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import pyarrow as pa

random = np.random.default_rng(0)
seen = []


def stored_right(array, stored):
    return bool((np.asarray(array.storage.flatten()) == stored.ravel()).all())


print("pyarrow", version("pyarrow"))
stored = random.integers(0, 256, (3, 4, 5, 3), np.uint8)
kind = pa.fixed_shape_tensor(pa.uint8(), [4, 5, 3], permutation=[2, 0, 1])
lists = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), 60)
got = pa.ExtensionArray.from_storage(kind, lists).to_numpy_ndarray()
right = stored.transpose(0, 3, 1, 2)
print(f"(4, 5, 3) with permutation [2, 0, 1]: shape {got.shape}, {(got == right).mean():.0%} of the values are right")
seen += [got.shape == right.shape, (got == right).mean() < 0.5]

given = random.integers(0, 256, (3, 3, 4, 4), np.uint8).transpose(0, 2, 3, 1)
array = pa.FixedShapeTensorArray.from_numpy_ndarray(given)
got = array.to_numpy_ndarray()
print(f"given {given.shape} in memory as (channels, height, width): got {got.shape}, {array.type}")
seen += [got.shape != given.shape, stored_right(array, given.transpose(0, 3, 1, 2))]

given = stored.transpose(0, 3, 1, 2)
array = pa.FixedShapeTensorArray.from_numpy_ndarray(given)
seen.append(stored_right(array, stored))
try:
    seen.append(array.to_numpy_ndarray().shape is None)
except pa.ArrowInvalid as error:
    print(f"given {given.shape} in memory as (height, width, channels): {error}")
    seen.append("buffer over run" in str(error))

given = np.arange(24, dtype=np.float32).reshape(4, 2, 3).transpose(0, 2, 1)
array = pa.FixedShapeTensorArray.from_numpy_ndarray(given)
alone = array[1].to_numpy()
print("two dimensions swapped, right in the array, alone:", alone.tolist(), "given:", given[1].tolist())
seen += [bool((array.to_numpy_ndarray() == given).all()), alone.shape == given[1].shape, not (alone == given[1]).all()]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
