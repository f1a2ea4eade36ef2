#!/usr/bin/env bash
# timm 1.0.31: the old names of three large ResNeXts build the smallest one instead.
#
# Expected: a deprecated name builds the network that it named, as ssl_resnext101_32x16d does. Seen:
# ig_resnext101_32x16d, _32x32d and _32x48d all build resnext101_32x8d; the warning names the network that is built. The
# first two exist under their new names, with 194 and 469 million parameters; the one built has 89.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1
"$work/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import timm
import torch

warnings.simplefilter("ignore")


def count(name):
    # On the meta device, as the largest would take 2 GB.
    with torch.device("meta"):
        return sum(weight.numel() for weight in timm.create_model(name, pretrained=False).parameters())


print("timm", timm.__version__)
seen = {}
for old in ("32x8d", "32x16d", "32x32d", "32x48d"):
    built = count(f"ig_resnext101_{old}")
    try:
        new = count(f"resnext101_{old}.fb_wsl_ig1b_ft_in1k")
    except RuntimeError:
        new = None
    seen[old] = (built, new)
    print(f"ig_resnext101_{old}: {built:,} parameters; resnext101_{old}: {'unknown' if new is None else f'{new:,}'}")
print(f"ssl_resnext101_32x16d: {count('ssl_resnext101_32x16d'):,} parameters")
small = seen["32x8d"][0]
same = all(built == small for built, _ in seen.values()) and count("ssl_resnext101_32x16d") > small
larger = all(new > small for new in (seen["32x16d"][1], seen["32x32d"][1]))
sys.exit(0 if same and larger else "the behaviour has changed")
PYTHON
