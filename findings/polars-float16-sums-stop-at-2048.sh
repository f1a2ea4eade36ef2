#!/usr/bin/env bash
# polars 2.1.0: the sum of a float16 array or list is added up in float16, and stops at 2048.
#
# Expected: 4096 ones are 4096, a float16, as Series.sum() gives, and as arr.mean() has it (1.0); polars widens the small
# integers "before summing to prevent overflow". Seen: arr.sum() and list.sum() are 2048: there 1 is half a float16 step, and
# each further one is lost, without a message. So the squared norm of a ResNet-50's embedding of 2048 numbers, read from a
# float16 Parquet file, comes out 3 % too small.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet polars==2.1.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import numpy as np
import polars as pl

print("polars", version("polars"))
seen = []
for count in (2048, 4096):
    ones = np.ones(count, np.float16)
    array = pl.Series("x", ones[None], dtype=pl.Array(pl.Float16, count))
    sums = {
        "arr.sum()": array.arr.sum().item(),
        "list.sum()": array.cast(pl.List(pl.Float16)).list.sum().item(),
        "Series.sum()": pl.Series(ones).sum(),
        "arr.sum() of float32": array.cast(pl.Array(pl.Float32, count)).arr.sum().item(),
    }
    for name, value in sums.items():
        print(f"{count} ones, {name}: {value}")
    *stopped, series, widened = sums.values()
    seen += [stopped == [2048.0] * 2, series == widened == count, array.arr.mean().item() == 1.0]

# Non-negative values, as a ResNet's pooled activations are.
embeddings = np.abs(np.random.default_rng(0).standard_normal((4, 2048)) * 0.6).astype(np.float16)
frame = pl.DataFrame({"embedding": embeddings})
frame.write_parquet("embeddings.parquet")
column = pl.read_parquet("embeddings.parquet")["embedding"]
got = (column * column).arr.sum().to_numpy().astype(float)
want = (embeddings.astype(float) ** 2).sum(1)
print("squared norms:", got.round(1), "expected", want.round(1), "ratio", (got / want).round(3))
seen += [column.dtype == pl.Array(pl.Float16, 2048), bool(np.all((got / want > 0.95) & (got / want < 0.98)))]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
