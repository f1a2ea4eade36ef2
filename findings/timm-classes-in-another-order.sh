#!/usr/bin/env bash
# timm 1.0.31 and torchvision 0.29.1: one folder of class folders, two numberings of its classes.
#
# Expected: both give a class the same number, as checkpoints of one are evaluated with the other. Seen: torchvision sorts
# the names as strings (1, 10, 11, 2; Bear, Zebra, ant), timm by their numbers and without regard to case (1, 2, 10, 11;
# ant, Bear, Zebra). With a folder in each class folder torchvision takes the outer names and timm the inner ones; and
# WebP, TIFF and BMP files are pictures for torchvision alone, so that in timm a class that has no others is gone and the
# later ones move up. No message comes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import pathlib
import sys

import timm
import torchvision
from PIL import Image
from timm.data import create_dataset

folders = {
    "numbers": ["1/a.jpg", "2/a.jpg", "10/a.jpg", "11/a.jpg"],
    "case": ["Bear/a.jpg", "Zebra/a.jpg", "ant/a.jpg"],
    "nested": ["cat/front/a.jpg", "cat/side/a.jpg", "dog/front/a.jpg"],
    "formats": ["cat/a.jpg", "dog/a.webp", "owl/a.tif", "pig/a.jpg"],
}
print("timm", timm.__version__, "torchvision", torchvision.__version__)
seen = {}
for folder, files in folders.items():
    for file in files:
        path = pathlib.Path(folder, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    by_torchvision = torchvision.datasets.ImageFolder(folder).class_to_idx
    by_timm = create_dataset("", folder).reader.class_to_idx
    seen[folder] = (sorted(by_torchvision, key=by_torchvision.get), sorted(by_timm, key=by_timm.get))
    print(f"{files}\n  torchvision: {seen[folder][0]}\n  timm:        {seen[folder][1]}")
wanted = {
    "numbers": (["1", "10", "11", "2"], ["1", "2", "10", "11"]),
    "case": (["Bear", "Zebra", "ant"], ["ant", "Bear", "Zebra"]),
    "nested": (["cat", "dog"], ["front", "side"]),
    "formats": (["cat", "dog", "owl", "pig"], ["cat", "pig"]),
}
sys.exit(0 if seen == wanted else "the behaviour has changed")
PYTHON
