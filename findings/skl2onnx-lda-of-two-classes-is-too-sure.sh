#!/usr/bin/env bash
# skl2onnx 1.20.0: of two classes the probabilities of a LinearDiscriminantAnalysis are those of twice its score.
#
# Expected: 1 / (1 + exp(-decision_function)), as scikit-learn's predict_proba() gives for two classes. Seen: the exported
# network gives 1 / (1 + exp(-2 * decision_function)), without a message: 0.57 becomes 0.64, and 0.69 becomes 0.84. The labels
# are right, so that a test of labels passes while every threshold on the probability means another one. With three
# classes the probabilities are right.
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
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

random = np.random.default_rng(0)
embeddings = random.standard_normal((400, 16)).astype(np.float32)
score = embeddings[:, 0] + random.standard_normal(400)
print(*(f"{name} {version(name)}" for name in ("skl2onnx", "scikit-learn", "onnxruntime")))
seen = []
for solver in ("svd", "lsqr", "eigen"):
    for classes in (2, 3):
        labels = (score > 0).astype(int) + (score > 1 if classes == 3 else 0)
        model = LinearDiscriminantAnalysis(solver=solver).fit(embeddings, labels)
        data = to_onnx(model, embeddings[:1], options={id(model): {"zipmap": False}}).SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        got, probabilities = session.run(None, {"X": embeddings})
        right = model.predict_proba(embeddings)
        error = np.abs(probabilities - right).max()
        print(f"{solver}, {classes} classes: at most {error:.3f} off; {probabilities[0]}, expected {right[0]}")
        seen.append(np.array_equal(got, model.predict(embeddings)))
        if classes == 2:
            twice = 1 / (1 + np.exp(-2 * model.decision_function(embeddings)))
            seen += [np.allclose(probabilities[:, 1], twice, atol=1e-4), error > 0.1]
        else:
            seen.append(error < 1e-4)
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
