#!/usr/bin/env bash
# Hugging Face datasets 5.2.0: a class called "train", or a picture called test_….jpg, makes the other classes vanish.
#
# Expected: a folder with one folder of pictures per class gives all pictures with their classes, as torchvision's
# ImageFolder does. Seen: with the classes bicycle, bus and train only the pictures of trains are loaded, without labels;
# with the classes bus and car one picture called test_drive.jpg is all that is loaded. Both are taken for the names of
# splits, and nothing is said. CIFAR-100 and COCO have a class "train".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/cache" "$work/venv/bin/python" - <<'PYTHON'
import pathlib
import sys

import datasets
from PIL import Image

datasets.disable_progress_bars()
folders = {
    "plain": ["bicycle/1.jpg", "bus/2.jpg", "tram/3.jpg"],
    "class": ["bicycle/1.jpg", "bus/2.jpg", "train/3.jpg", "train/4.jpg"],
    "picture": ["bus/1.jpg", "bus/test_drive.jpg", "car/2.jpg", "car/3.jpg"],
}
print("datasets", datasets.__version__)
seen = {}
for folder, files in folders.items():
    for file in files:
        path = pathlib.Path(folder, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    loaded = datasets.load_dataset("imagefolder", data_dir=folder)
    seen[folder] = {
        split: (len(rows), rows.features["label"].names if "label" in rows.features else None)
        for split, rows in loaded.items()
    }
    print(f"{files}:")
    for split, (count, names) in seen[folder].items():
        print(f"  split {split}: {count} pictures, classes {names}")
wanted = {
    "plain": {"train": (3, ["bicycle", "bus", "tram"])}, "class": {"train": (2, None)}, "picture": {"test": (1, None)},
}
sys.exit(0 if seen == wanted else "the behaviour has changed")
PYTHON
