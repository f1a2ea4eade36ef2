#!/usr/bin/env bash
# torchmetrics 1.9.0: for four of its retrieval metrics a hit with a score of 0 or less was not found.
#
# Expected: scores only rank, so that adding a constant to all changes nothing (the classes are documented to take "a
# float tensor"); a right image that comes first has an average precision, precision and recall at 1 and reciprocal
# rank of 1. Seen: these four are 0 when the scores are 0 or negative, as cosines and logits may be and negated
# distances are, without a message; hit rate, nDCG and R-precision are right. A gallery ranked by the negated L2
# distance has a mean average precision of 0, whatever the network.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet --no-cache-dir torchmetrics==1.9.0 torch==2.15.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import torch
from torchmetrics import retrieval

METRICS = {
    "RetrievalMAP": {},
    "RetrievalMRR": {},
    "RetrievalPrecision": {"top_k": 1},
    "RetrievalRecall": {"top_k": 1},
    "RetrievalHitRate": {"top_k": 1},
    "RetrievalNormalizedDCG": {},
    "RetrievalRPrecision": {},
}
WRONG = {"RetrievalMAP", "RetrievalMRR", "RetrievalPrecision", "RetrievalRecall"}
# Two queries of three images; the right image of each is the nearest, and for the first it is the same image.
distances = torch.tensor([0.9, 0.0, 0.5, 0.2, 0.8, 0.7])
right = torch.tensor([0, 1, 0, 1, 0, 0])
query = torch.tensor([0, 0, 0, 1, 1, 1])
print("torchmetrics", version("torchmetrics"))
same = True
for name, options in METRICS.items():
    metric = getattr(retrieval, name)(**options)
    negated, shifted = (metric(scores, right, indexes=query).item() for scores in (-distances, 1 - distances))
    print(f"{name}: {negated:.2f} of the negated distances, {shifted:.2f} of 1 - the distances")
    same &= shifted == 1 and negated == (0 if name in WRONG else 1)
sys.exit(0 if same else "the behaviour has changed")
PYTHON
