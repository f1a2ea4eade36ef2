#!/usr/bin/env bash
# scikit-learn 1.9.1: normalize() of float16 vectors longer than 256 gives zeros, without a warning.
#
# Expected: vectors of length 1, as of float32, or an error. Seen: the sum of squares is kept in float16, which ends at 65504,
# so that each vector whose length is above 255.9 is divided by infinity. Of float16 pixels, and of unnormalised
# activations of a wide layer, everything is 0 and every two images are equally alike. cosine_similarity(), KNN, KMeans and
# PCA widen float16 and are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
import warnings
from importlib.metadata import version

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

# Any warning ends the script.
warnings.simplefilter("error")
print("scikit-learn", version("scikit-learn"))
seen = []
digits = load_digits().data
# The handwritten digits have values of 0 to 16; an 8-bit picture has 0 to 255.
for name, vectors in (("0 to 16", digits), ("0 to 255", digits * (255 / 16))):
    half = vectors.astype(np.float16)
    long = np.linalg.norm(half.astype(np.float64), axis=1) > 256
    lengths = np.linalg.norm(normalize(half).astype(np.float64), axis=1)
    right = np.linalg.norm(normalize(half.astype(np.float32)).astype(np.float64), axis=1)
    print(f"values {name}: {long.sum()} of {len(half)} are longer than 256; lengths after normalize():", end=" ")
    print(f"{lengths.min():.3f} to {lengths.max():.3f}; of float32 {right.min():.3f} to {right.max():.3f}")
    seen += [np.allclose(right, 1, atol=1e-5), np.allclose(lengths[~long], 1, atol=2e-3), bool((lengths[long] == 0).all())]
    seen += [long.any() == (name == "0 to 255"), np.allclose(np.diag(cosine_similarity(half)), 1, atol=1e-3)]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
