#!/usr/bin/env bash
# usearch 2.26.6: NumPy's uint8 vectors are taken for packed bits, also by an index of the data type "u8"; no message.
#
# Expected: what int8, float16 and float32 vectors give: the neighbours that NumPy finds. Seen: an Index(ndim=64,
# dtype="u8") that is filled and searched with uint8 arrays of 64 columns keeps the 64 bits of the first eight columns, so
# that its L2 distance is the Hamming distance of those; search(..., exact=True) gives NaN or counts of bits. Embeddings that
# were quantised to uint8, and descriptors such as SIFT, are of this type; the same numbers as int8 or floats are searched
# right, and an index "u8" that is given floats is too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet usearch==2.26.6 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
from usearch.index import Index, MetricKind, search

WIDTH, NEIGHBOURS = 64, 10
TYPES = {np.uint8: "u8", np.int8: "i8", np.float16: "f16", np.float32: "f32"}
random = np.random.default_rng(0)
# Values that all of the four types hold.
base = random.integers(0, 128, (1000, WIDTH))
queries = random.integers(0, 128, (20, WIDTH))


def by_hand(metric):
    products = (queries @ base.T).astype(float)
    if metric == MetricKind.IP:
        return 1 - products
    if metric == MetricKind.L2sq:
        return ((queries[:, None] - base[None]) ** 2).sum(axis=2).astype(float)
    return 1 - products / np.linalg.norm(queries, axis=1)[:, None] / np.linalg.norm(base, axis=1)


def recall(keys, want):
    return np.mean([len(set(map(int, a)) & set(map(int, b))) / NEIGHBOURS for a, b in zip(keys, want)])


print("usearch", version("usearch"))
same = True
for kind, name in TYPES.items():
    for metric in (MetricKind.L2sq, MetricKind.IP, MetricKind.Cos):
        want = np.argsort(by_hand(metric), axis=1)[:, :NEIGHBOURS]
        function = search(base.astype(kind), queries.astype(kind), NEIGHBOURS, metric, exact=True)
        index = Index(ndim=WIDTH, metric=metric, dtype=name)
        index.add(np.arange(len(base)), base.astype(kind))
        found = index.search(queries.astype(kind), NEIGHBOURS, exact=True)
        recalls = recall(function.keys, want), recall(found.keys, want)
        print(
            f"{kind.__name__}, {metric.name}: recall of search() {recalls[0]:.2f}, of the index {recalls[1]:.2f};",
            f"nearest distance {function.distances[0, 0]:.4g} and {found.distances[0, 0]:.4g},",
            f"by hand {by_hand(metric)[0].min():.4g}",
        )
        same &= max(recalls) < 0.3 if kind is np.uint8 else min(recalls) > 0.9
        if kind is np.uint8 and metric == MetricKind.L2sq:
            columns = WIDTH // 8
            bits = np.unpackbits(queries.astype(kind)[:, None, :columns] ^ base.astype(kind)[None, :, :columns], axis=2)
            hamming = np.sort(bits.sum(axis=2), axis=1)[:, :NEIGHBOURS]
            of_bits = np.array_equal(found.distances, hamming)
            print(f"the distances of the index are the Hamming distances of the first {columns} columns: {of_bits}")
            same &= of_bits and np.isnan(function.distances).all()
sys.exit(0 if same else "the behaviour has changed")
PYTHON
