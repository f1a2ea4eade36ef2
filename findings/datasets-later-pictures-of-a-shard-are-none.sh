#!/usr/bin/env bash
# Hugging Face datasets 5.2.0: pictures of a WebDataset shard become None, if their ending is not among the first five's.
#
# Expected: every sample of a shard keeps its picture, as the webdataset package reads it, or the load fails; among the
# first five samples another ending is an error here too. Seen: the columns are the endings of the first five samples;
# of a later sample whose picture is a .png, a .jpeg or a .JPG the column "jpg" is None, and nothing is said.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet datasets==5.2.0 webdataset==1.0.2 pillow==13.0.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/cache" "$work/venv/bin/python" - <<'PYTHON'
import io
import os
import sys
import tarfile

import datasets
import webdataset
from PIL import Image

endings = ["jpg", "jpg", "jpg", "jpg", "jpg", "png", "jpeg", "JPG", "jpg"]
os.mkdir("shards")
with tarfile.open("shards/train-000000.tar", "w") as shard:
    for number, ending in enumerate(endings):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8)).save(picture, "PNG" if ending == "png" else "JPEG")
        for name, data in ((f"{number}.{ending}", picture.getvalue()), (f"{number}.cls", b"%d" % number)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))

samples = list(webdataset.WebDataset("shards/train-000000.tar", shardshuffle=False).decode("pil"))
pictures = [any(isinstance(value, Image.Image) for value in sample.values()) for sample in samples]
datasets.disable_progress_bars()
rows = list(datasets.load_dataset("webdataset", data_dir="shards", split="train"))
print("datasets", datasets.__version__)
for ending, found, row in zip(endings, pictures, rows, strict=True):
    by_datasets = "None" if row["jpg"] is None else "a picture"
    print(f".{ending}: webdataset {'a picture' if found else 'none'}, datasets {by_datasets}, class {row['cls']}")
seen = all(pictures) and [row["jpg"] is None for row in rows] == [ending != "jpg" for ending in endings]
sys.exit(0 if seen else "the behaviour has changed")
PYTHON
