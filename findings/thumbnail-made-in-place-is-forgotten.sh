#!/usr/bin/env bash
# datasets 5.2.0, mosaicml-streaming 0.13.0, litdata 0.2.76: a picture that was made small in place is stored in full size.
#
# Expected: a data set stores the picture that it is given. Seen: Pillow's thumbnail() changes the picture in place and
# the object keeps the name of its file; map() and from_dict() of datasets, the encoding "jpeg" of MDSWriter and optimize()
# of litdata see that name and take the file instead, without a message. So a step that makes pictures small does nothing.
# resize(), which makes a new object, is stored by all of them, and webdataset stores the small picture in both cases.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Two environments, because the packages want different versions of huggingface-hub. PIP_CONSTRAINT=/dev/null: without the
# constraints that a machine's pip may have, as they can hide the newest version.
python3 -m venv "$work/datasets"
PIP_CONSTRAINT=/dev/null "$work/datasets/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0 numpy
python3 -m venv "$work/shards"
PIP_CONSTRAINT=/dev/null "$work/shards/bin/pip" install --quiet mosaicml-streaming==0.13.0 litdata==0.2.76 webdataset==1.0.2 \
    pillow==13.0.0 torch==2.15.0 torchvision==0.29.2 numpy
cd "$work"
cat > pictures.py <<'PYTHON'
import numpy as np
from PIL import Image

FILE, FULL, SMALL = "folder/class/picture.jpg", (500, 376), (64, 48)


def write():
    values = np.random.default_rng(0).integers(0, 256, (47, 125, 3)).repeat(4, axis=0)[:, :, None].repeat(4, axis=2)
    pixels = values.reshape(188, 500, 3).repeat(2, axis=0).astype(np.uint8)
    Image.fromarray(pixels).save(FILE)


def in_place():
    image = Image.open(FILE)
    image.thumbnail(SMALL)
    assert image.size == SMALL
    return image


def new_object():
    return Image.open(FILE).resize(SMALL)
PYTHON
cat > with_datasets.py <<'PYTHON'
import sys

import datasets
import pictures

pictures.write()


def in_place(row):
    row["image"].thumbnail(pictures.SMALL)
    return row


def new_object(row):
    return row | {"image": row["image"].resize(pictures.SMALL)}


folder = datasets.load_dataset("imagefolder", data_dir="folder", split="train", cache_dir="cache")
seen = [folder.map(step)[0]["image"].size for step in (in_place, new_object)]
seen += [datasets.Dataset.from_dict({"image": [make()]})[0]["image"].size for make in (pictures.in_place, pictures.new_object)]
print("datasets", datasets.__version__)
print("map(): thumbnail()", seen[0], "resize()", seen[1])
print("from_dict(): thumbnail()", seen[2], "resize()", seen[3])
sys.exit(0 if seen == [pictures.FULL, pictures.SMALL] * 2 else "the behaviour has changed")
PYTHON
cat > with_shards.py <<'PYTHON'
import sys
from importlib.metadata import version

import litdata
import numpy as np
import pictures
import streaming
import webdataset


def sample_in_place(_):
    return {"image": pictures.in_place()}


def sample_new_object(_):
    return {"image": pictures.new_object()}


def of_litdata(sample):
    litdata.optimize(sample, [0], sample.__name__, chunk_size=1, num_workers=1, verbose=False)
    image = litdata.StreamingDataset(sample.__name__)[0]["image"]
    # A JPEG comes back as a tensor (3, H, W), another picture as Pillow's object.
    return tuple(image.shape[:0:-1]) if hasattr(image, "shape") else image.size


def of_streaming(sample, encoding):
    folder = f"mds_{sample.__name__}_{encoding}"
    with streaming.MDSWriter(out=folder, columns={"image": encoding}) as writer:
        writer.write(sample(0))
    return np.asarray(streaming.LocalDataset(folder)[0]["image"]).shape[1::-1]


def of_webdataset(sample):
    with webdataset.TarWriter("shard.tar") as writer:
        writer.write({"__key__": "0", "jpg": sample(0)["image"]})
    return next(iter(webdataset.WebDataset("shard.tar", shardshuffle=False).decode("pil")))["jpg"].size


def main():
    writers = {
        "litdata " + version("litdata"): of_litdata,
        "mosaicml-streaming " + version("mosaicml-streaming") + ", jpeg": lambda sample: of_streaming(sample, "jpeg"),
        "mosaicml-streaming " + version("mosaicml-streaming") + ", png": lambda sample: of_streaming(sample, "png"),
        "webdataset " + version("webdataset"): of_webdataset,
    }
    seen = [(write(sample_in_place), write(sample_new_object)) for write in writers.values()]
    for name, (in_place, new_object) in zip(writers, seen):
        print(f"{name}: thumbnail() {in_place} resize() {new_object}")
    forgotten, kept = (pictures.FULL, pictures.SMALL), (pictures.SMALL, pictures.SMALL)
    sys.exit(0 if seen == [forgotten, forgotten, kept, kept] else "the behaviour has changed")


# litdata starts processes that import this file again.
if __name__ == "__main__":
    main()
PYTHON
mkdir -p folder/class
HF_HUB_OFFLINE=1 HF_HOME="$work/home" "$work/datasets/bin/python" with_datasets.py 2> log || { tail -5 log; exit 1; }
"$work/shards/bin/python" with_shards.py 2> log || { tail -5 log; exit 1; }
