#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata give another file in each process.
#
# Expected: a file of tensors in plain order has the same bytes whenever it is written, so that its sha256 names the
# weights. Seen: with two or more entries of metadata their order is another one in each process, and the sha256 with it;
# with one entry, or none, all files are equal. Whoever compares checkpoints by their hash must hash the tensors, or keep
# the file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cd "$work"
cat >write.py <<'PYTHON'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

metadata = {f"key{number}": "value" for number in range(int(sys.argv[1]))}
print(hashlib.sha256(save({"weight": np.ones((2, 3), np.float32)}, metadata=metadata or None)).hexdigest())
PYTHON
differ=0
for entries in 0 1 8; do
  count=$(for run in 1 2 3 4 5 6; do venv/bin/python write.py $entries; done | sort -u | wc -l)
  echo "safetensors 0.8.0, $entries entries of metadata: $count different files of 6"
  if [ "$entries" -le 1 ] && [ "$count" -ne 1 ]; then differ=1; fi
  if [ "$entries" -gt 1 ] && [ "$count" -eq 1 ]; then differ=1; fi
done
if [ $differ -ne 0 ]; then echo "the behaviour has changed" >&2; exit 1; fi
