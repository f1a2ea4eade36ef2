#!/usr/bin/env bash
# skl2onnx 1.20.0: a KNeighborsClassifier with weights="distance" becomes one with equal weights.
#
# Expected: the votes weighted by the inverse of the distance, as scikit-learn does ("closer neighbors of a query point will have
# a greater influence"). Seen: the exported network gives the probabilities of weights="uniform", up to 0.93 off, without
# a message: a stored image, whose own label has all the weight at distance 0, is given another label in 1.5 % of cases.
# KNeighborsRegressor is concerned too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

images, labels = load_digits(return_X_y=True)
images = images.astype(np.float32)
stored, fresh = images[:1200], images[1200:]


def run(model, queries):
    """Return the outputs of the model as ONNX in onnxruntime."""
    options = {id(model): {"zipmap": False}} if isinstance(model, KNeighborsClassifier) else None
    data = to_onnx(model, queries[:1], options=options).SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"X": queries})


print(*(f"{name} {version(name)}" for name in ("skl2onnx", "scikit-learn", "onnxruntime")))
seen = []
for metric in ("euclidean", "cosine"):
    uniform, weighted = (
        KNeighborsClassifier(15, metric=metric, weights=weights).fit(stored, labels[:1200]) for weights in ("uniform", "distance")
    )
    for name, queries in (("stored", stored), ("fresh", fresh)):
        of_onnx, probabilities = run(weighted, queries)
        errors = [np.abs(probabilities - model.predict_proba(queries)).max(1) for model in (weighted, uniform)]
        others = int((of_onnx != weighted.predict(queries)).sum())
        print(
            f"{metric}, {len(queries)} {name} images: probabilities at most {errors[0].max():.2f} from those of scikit-learn;",
            f"equal to those of weights='uniform' for {(errors[1] < 1e-5).mean():.1%}; {others} other labels",
        )
        seen += [errors[0].max() > 0.05, (errors[1] < 1e-5).mean() > 0.98, others > 10 or name == "fresh"]
    right = run(uniform, stored)[1]
    seen.append(np.allclose(right, uniform.predict_proba(stored), atol=1e-5))
regressor = KNeighborsRegressor(5, weights="distance").fit(stored, labels[:1200])
error = np.abs(run(regressor, stored)[0].ravel() - regressor.predict(stored)).max()
print(f"KNeighborsRegressor, stored images: at most {error:.2f} off")
sys.exit(0 if all(seen) and error > 0.5 else "the behaviour has changed")
PYTHON
