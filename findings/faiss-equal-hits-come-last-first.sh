#!/usr/bin/env bash
# faiss 1.15.1: among equal inner products the first hit depends on how many hits are asked for.
#
# Expected: of vectors with the same score, the one that was added first comes first, as in IndexFlatL2, or at least the
# same one for every k. Seen: IndexFlatIP keeps the first k of them and hands them out in the order of the last added: ten
# copies of one image are found as 0 for k=1, as 4, 3, 2, 1, 0 for k=5 and as 9, 8, ... for k=10. A nearest-neighbour
# classifier's top-1 so changes with k, and two searches of one store, by inner product and by L2 of the same normalised
# vectors, name different images first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet faiss-cpu==1.15.1 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys

import faiss
import numpy as np

WIDTH, COPIES = 64, 10
random = np.random.default_rng(0)
base = random.normal(size=(1000, WIDTH)).astype(np.float32)
base[:COPIES] = base[0]
faiss.normalize_L2(base)
query = base[:1]


def filled(index):
    index.train(base)
    index.add(base)
    return index


indexes = {
    "IndexFlatIP": filled(faiss.IndexFlatIP(WIDTH)),
    "IndexFlatL2": filled(faiss.IndexFlatL2(WIDTH)),
    "IVF4,Flat by inner product": filled(faiss.index_factory(WIDTH, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)),
    "IVF4,Flat by L2": filled(faiss.index_factory(WIDTH, "IVF4,Flat")),
}
print("faiss", faiss.__version__)
seen = {}
for name, index in indexes.items():
    for k in (1, 5, COPIES):
        hits = index.search(query, k)
        assert np.unique(hits[0][0]).size == 1, "the scores are not equal"
        seen[name, k] = hits[1][0].tolist()
        print(f"{name}, k={k}: {seen[name, k]}")
same = all(seen["IndexFlatIP", k] == list(range(k))[::-1] for k in (1, 5, COPIES))
same &= all(seen["IndexFlatL2", k] == list(range(k)) for k in (1, 5, COPIES))
sys.exit(0 if same else "the behaviour has changed")
PYTHON
