#!/usr/bin/env bash
# pylance 14.0.2: the same rows written twice are files of different bytes, if the schema has several metadata entries.
#
# Expected: a Lance data file depends on its rows and schema alone, as a Parquet file of pyarrow does. Seen: with one
# entry of metadata all files of ten processes are equal; with six entries nearly every process writes them in another
# order, so that hashes of the files differ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pylance==14.0.2 pyarrow==26.0.0
cat >"$work/write.py" <<'PYTHON'
import hashlib
import pathlib
import sys

import pyarrow as pa
from lance.file import LanceFileWriter

entries, file = int(sys.argv[1]), pathlib.Path(sys.argv[2])
schema = pa.schema([pa.field("key", pa.string())], metadata={f"entry {n}": str(n) for n in range(entries)})
writer = LanceFileWriter(str(file), schema)
writer.write_batch(pa.table({"key": ["a", "b"]}, schema=schema))
writer.close()
print(hashlib.sha256(file.read_bytes()).hexdigest())
PYTHON
count() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do "$work/venv/bin/python" "$work/write.py" "$1" "$work/rows.lance"; done | sort -u | wc -l
}
one=$(count 1) six=$(count 6)
echo "pylance $("$work/venv/bin/python" -c 'import lance; print(lance.__version__)')"
echo "different files of ten, one entry of metadata: $one; six entries: $six"
[ "$one" -eq 1 ] && [ "$six" -gt 1 ] || { echo "the behaviour has changed" >&2; exit 1; }
