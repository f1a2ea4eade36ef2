#!/usr/bin/env bash
# timm 1.0.31: torchvision's weights come with another preprocessing than torchvision's own, for 25 of 37 networks.
#
# Expected: create_transform(**resolve_data_config({}, …)), as timm's model cards have it, gives the pixels that
# torchvision's weights.transforms() gives, as both name one file of weights by its address. Seen: ResNets and ResNeXts of
# the second recipe get 176 x 176 pixels of a short side of 201, where torchvision takes 224 of 232 (as timm does with
# use_test_size=True); resnext101_64x4d gets 224 of 256; RegNets of the second recipe are resized bicubic instead of
# bilinear; RegNets of SWAG's linear probes get 224 of 232 instead of 224. No weights are loaded here.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1
"$work/venv/bin/python" - <<'PYTHON'
import sys

import timm
import torchvision
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg

by_address = {
    weights.url: weights
    for name in torchvision.models.list_models(module=torchvision.models)
    for weights in torchvision.models.get_model_weights(name)
}


def shape(config, **options):
    resize, crop = create_transform(**resolve_data_config({}, pretrained_cfg=config.to_dict(), **options)).transforms[:2]
    short = resize.size if isinstance(resize.size, int) else resize.size[0]
    return short, crop.size[0], resize.interpolation.value


print("timm", timm.__version__, "torchvision", torchvision.__version__)
equal, differing, mended = 0, {}, 0
for name in timm.list_pretrained():
    config = get_pretrained_cfg(name)
    if config.url not in by_address:
        continue
    transform = by_address[config.url].transforms()
    theirs = (transform.resize_size[0], transform.crop_size[0], transform.interpolation.value)
    ours = shape(config)
    if ours == theirs:
        equal += 1
        continue
    differing[name] = (ours, theirs)
    mended += shape(config, use_test_size=True) == theirs
    print(f"{name}: timm {ours}, torchvision {theirs}")
print(f"{equal} equal, {len(differing)} differ in (short side, crop, interpolation), {mended} of them not with use_test_size")
counts = (equal, len(differing), mended, differing["resnet50.tv2_in1k"])
wanted = (12, 25, 7, ((201, 176, "bilinear"), (232, 224, "bilinear")))
sys.exit(0 if counts == wanted else f"the behaviour has changed: {counts}")
PYTHON
