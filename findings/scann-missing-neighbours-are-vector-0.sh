#!/usr/bin/env bash
# scann 1.4.2: neighbours that search_batched() did not find are given as number 0, the first vector of the index.
#
# Expected: a number that no vector has, as faiss gives -1, or a shorter answer, as scann's own search() of one query gives.
# Seen: where fewer than k vectors lie in the leaves that were searched, the rest of the row has the number 0 and the distance
# NaN, without a message. So the first image of a data set votes for its class, or is shown, dozens of times; a check of the
# numbers alone finds nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet scann==1.4.2 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import scann

VECTORS, LEAVES, NEIGHBOURS = 2000, 100, 50
random = np.random.default_rng(0)
vectors = random.standard_normal((VECTORS, 32)).astype(np.float32)
queries = random.standard_normal((100, 32)).astype(np.float32)
print("scann", version("scann"))
seen = []
for metric in ("squared_l2", "dot_product"):
    builder = scann.scann_ops_pybind.builder(vectors, NEIGHBOURS, metric)
    tree = builder.tree(num_leaves=LEAVES, num_leaves_to_search=2, training_sample_size=VECTORS)
    index = tree.score_brute_force().build()
    numbers, distances = index.search_batched(queries)
    missing = np.isnan(distances)
    alone = [len(index.search(query)[0]) for query in queries]
    print(
        f"{metric}, k={NEIGHBOURS}: of {numbers.size} answers {(numbers == 0).sum()} are vector 0, {missing.sum()} have the",
        f"distance NaN; search() of one query gives {min(alone)} to {max(alone)} answers",
    )
    seen += [numbers.shape == (100, NEIGHBOURS), missing.sum() > 100, bool((numbers[missing] == 0).all())]
    seen += [min(alone) < NEIGHBOURS, abs(sum(alone) - (~missing).sum()) < 0.1 * numbers.size]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
