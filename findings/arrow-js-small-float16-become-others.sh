#!/usr/bin/env bash
# apache-arrow 21.2.0 (npm): a Float16 column made from JavaScript numbers holds other numbers below 2^-25 and from 65536 on.
#
# Expected: the nearest float16, as NumPy, pyarrow and Float16Array give it: 0 for all that is at most 2^-25 (3e-8), and
# infinity from 65520 on. Seen: a number too small for float16 becomes any number up to 6.1e-5, or infinity: 1e-10 is
# 5.3e-5 and 2.9e-8 is -Infinity; one of 65536 or more is cut to a number between 2 and 4: 1e6 is 3.8. No message, and
# pyarrow reads the same numbers from the file. Numbers from 3e-8 to 65504 are right within a step. Who stores scores of a
# softmax, or embeddings whose values are nearly 0, in float16 from JavaScript meets it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet pyarrow==26.0.1 numpy==2.4.6
cd "$work"
npm install --silent --ignore-scripts apache-arrow@21.2.0 > log 2>&1 || { tail -20 log; exit 1; }
cat > write.mjs <<'NODE'
import { readFileSync, writeFileSync } from "node:fs";
import { Field, FixedSizeList, Float16, Table, tableToIPC, vectorFromArray } from "apache-arrow";

const bytes = readFileSync("numbers.f64");
const numbers = [...new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))];
const pairs = [];
for (let at = 0; at < numbers.length; at += 2) pairs.push(numbers.slice(at, at + 2));
const columns = {
  number: vectorFromArray(numbers, new Float16()),
  pair: vectorFromArray([...pairs, ...pairs], new FixedSizeList(2, new Field("item", new Float16(), false))),
};
writeFileSync("numbers.arrow", tableToIPC(new Table(columns), "file"));
NODE
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow

print("apache-arrow", json.loads(Path("node_modules/apache-arrow/package.json").read_text())["version"], end=", ")
print("pyarrow", version("pyarrow"))
rows = np.random.default_rng(0).normal(0, 2, 1000)
rows[0] = 18  # A sure network: the other classes share what is left of 1.
softmax = np.exp(rows - rows.max())
softmax /= softmax.sum()
shown = [1e-10, -1e-10, 2.9e-8, 7e-8, 1e-5, 0.1, 65504, 65536, 1e6, -1e6]
numbers = np.array([*shown, *softmax, *np.linspace(-65504, 65504, 1000)])
numbers.tofile("numbers.f64")
subprocess.run(["node", "write.mjs"], check=True)
table = pyarrow.ipc.open_file("numbers.arrow").read_all()
got = table["number"].combine_chunks().to_numpy()
pairs = table["pair"].combine_chunks().flatten().to_numpy()
with np.errstate(over="ignore"):
    right = numbers.astype(np.float16)
for number, half, stored in zip(shown, right, got):
    print(f"{number:g}: float16 is {half}, stored is {stored}")
size, scores = np.abs(numbers), slice(len(shown), len(shown) + len(softmax))
small, large = size < 2.0**-25, size >= 65536
far = ~np.isclose(got.astype(np.float64), right.astype(np.float64), rtol=2.0**-10, atol=2.0**-24)
finite = got[scores][far[scores] & np.isfinite(got[scores])]
print(f"of {len(softmax)} scores of a softmax {small[scores].sum()} are 0 in float16;", end=" ")
print(f"{far[scores].sum()} are stored wrong, up to {np.abs(finite).max():.2g}, and {np.isinf(got[scores]).sum()} as infinity")
seen = [
    got.dtype == np.float16,
    pairs[: len(numbers)].tobytes() == got.tobytes(),
    np.isinf(got[2]),
    5e-5 < got[0] < 6e-5,
    got[7] == 2,
    3.8 < got[8] < 3.82,
    far[small].sum() > 100,
    far[large].all(),
    not far[~small & ~large].any(),
]
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
