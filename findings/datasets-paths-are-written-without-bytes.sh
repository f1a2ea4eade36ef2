#!/usr/bin/env bash
# Hugging Face datasets 5.2.0: a data set of image files, saved as Parquet, holds paths and no image.
#
# Expected: to_parquet() of a column of type Image writes the images, as push_to_hub() does, so that the file can be
# given away. Seen: of a data set made from paths, every `bytes` is null and `path` is the path as it was given.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.0 pillow==13.0.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PYTHON'
import sys

import datasets
import pyarrow.parquet as pq
from PIL import Image

for number in range(3):
    Image.new("RGB", (8, 8), (number * 40, 0, 0)).save(f"{number}.png")
paths = [f"{number}.png" for number in range(3)]
made = datasets.Dataset.from_dict({"image": paths}, features=datasets.Features({"image": datasets.Image()}))
made.to_parquet("images.parquet")
rows = pq.read_table("images.parquet").column("image").to_pylist()
print("datasets", datasets.__version__)
for row in rows:
    print("bytes:", row["bytes"] and len(row["bytes"]), "path:", row["path"])
sys.exit(0 if all(row["bytes"] is None and row["path"] for row in rows) else "the behaviour has changed")
PYTHON
