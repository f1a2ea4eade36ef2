#!/usr/bin/env bash
# skl2onnx 1.20.0: an isotonic calibration is exported as steps: each score gets the value of the nearest threshold.
#
# Expected: the straight line between two thresholds, as scikit-learn's IsotonicRegression interpolates. Seen: the exported
# CalibratedClassifierCV(method="isotonic") takes the threshold that is nearest, without a message: calibrated
# probabilities are up to 0.1 off in a test of two classes, and of ten classes, scikit-learn's handwritten digits, 16 % of
# the images have one that is. The calibration by method="sigmoid" is right.
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
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB


def both(model, x):
    """Return the probabilities of the model as ONNX in onnxruntime, and those of scikit-learn."""
    data = to_onnx(model, x[:1], options={id(model): {"zipmap": False}}).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": x})[1], model.predict_proba(x)


print(*(f"{name} {version(name)}" for name in ("skl2onnx", "scikit-learn", "onnxruntime")))
random = np.random.default_rng(0)
x = random.standard_normal((200, 16)).astype(np.float32)
labels = (x[:, 0] + random.standard_normal(200) > 0).astype(int)
fresh = random.standard_normal((5000, 16)).astype(np.float32)
seen = []
for method in ("isotonic", "sigmoid"):
    model = CalibratedClassifierCV(GaussianNB(), method=method, cv=3, ensemble=False).fit(x, labels)
    got, right = both(model, fresh)
    error = np.abs(got - right).max()
    print(f"{method}, two classes: at most {error:.3f} off")
    if method == "sigmoid":
        seen.append(error < 1e-4)
        continue
    inner = model.calibrated_classifiers_[0]
    line = inner.calibrators[0]
    scores = inner.estimator.predict_proba(fresh)[:, 1]
    nearest = line.y_thresholds_[np.abs(scores[:, None] - line.X_thresholds_).argmin(1)]
    between = np.interp(scores, line.X_thresholds_, line.y_thresholds_)
    seen += [error > 0.05, np.allclose(right[:, 1], between, atol=1e-5), (np.abs(got[:, 1] - nearest) < 1e-4).mean() > 0.999]
images, labels = load_digits(return_X_y=True)
images = images.astype(np.float32)
model = CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3).fit(images[:1200], labels[:1200])
got, right = both(model, images[1200:])
errors = np.abs(got - right).max(1)
print(f"isotonic, ten classes: at most {errors.max():.3f} off, more than 0.001 for {(errors > 1e-3).mean():.0%} of the images")
sys.exit(0 if all(seen) and errors.max() > 0.1 and (errors > 1e-3).mean() > 0.1 else "the behaviour has changed")
PYTHON
