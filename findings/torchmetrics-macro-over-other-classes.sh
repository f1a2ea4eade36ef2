#!/usr/bin/env bash
# torchmetrics 1.9.0: "macro", the average that MulticlassAccuracy has by default, is over other classes for top_k=1 than
# for top_k=5.
#
# Expected: the mean of the accuracies of the classes that the labels have, as in scikit-learn's balanced_accuracy_score
# and in torcheval, for every top_k. Seen: with top_k=1 a class that no label has, but that was predicted, is counted as a
# class with an accuracy of 0. So a network of 1,000 classes on images of ten of them gets a fraction of its top-1 accuracy,
# the worse, the more different its errors are; its top-5 accuracy is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet torchmetrics==1.9.0 torcheval==0.0.7 torch==2.15.0 \
    scikit-learn==1.9.1 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torcheval.metrics.functional import multiclass_accuracy
from torchmetrics.classification import MulticlassAccuracy

CLASSES, THERE, IMAGES = 1000, 10, 100
random = np.random.default_rng(0)
labels = np.repeat(np.arange(THERE), IMAGES // THERE)
# Three of four images are recognised; the others take a class that no label has, with the right one as the second.
logits = random.normal(size=(IMAGES, CLASSES)).astype(np.float32)
logits[np.arange(IMAGES), labels] = 10
wrong = np.arange(IMAGES) % 4 == 3
logits[wrong, THERE + np.flatnonzero(wrong)] = 20


def by_hand(k):
    best = np.argsort(-logits, axis=1)[:, :k]
    right = (best == labels[:, None]).any(axis=1)
    return np.mean([right[labels == label].mean() for label in range(THERE)])


scores, truth = torch.from_numpy(logits), torch.from_numpy(labels)
print(*(f"{name} {version(name)}" for name in ("torchmetrics", "torcheval", "scikit-learn")))
seen = {}
for k in (1, 5):
    seen[k] = [
        MulticlassAccuracy(num_classes=CLASSES, top_k=k)(scores, truth).item(),
        multiclass_accuracy(scores, truth, average="macro", num_classes=CLASSES, k=k).item(),
        by_hand(k),
    ]
    print(f"top-{k}: torchmetrics {seen[k][0]:.4f}, torcheval {seen[k][1]:.4f}, by hand {seen[k][2]:.4f}")
balanced = balanced_accuracy_score(labels, logits.argmax(axis=1))
print(f"balanced_accuracy_score {balanced:.4f}")
# The sum of the ten accuracies, divided by ten classes and the 25 that were only predicted.
diluted = by_hand(1) * THERE / (THERE + wrong.sum())
same = np.allclose(seen[1], [diluted, by_hand(1), by_hand(1)]) and np.allclose(seen[5], 1.0)
sys.exit(0 if same and np.isclose(balanced, by_hand(1)) else "the behaviour has changed")
PYTHON
