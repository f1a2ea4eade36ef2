#!/usr/bin/env bash
# torchao 0.18.0: X86InductorQuantizer refuses the ResNets of torchvision.
#
# Expected: prepare_pt2e() takes torchvision's resnet18, the network of PyTorch's own tutorial for this quantiser. Seen:
# "ValueError: Input partition has more than one output node". The blocks of torchvision use one ReLU module two or three
# times, torch.export (strict=False, the default) gives these uses one source, and the quantiser wants one output of each.
# timm's ResNets, with a ReLU module for each use, are taken, and torchvision's too after an export with strict=True.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet torch==2.15.0 torchvision==0.29.2 torchao==0.18.0 timm==1.0.31
cd "$work"
"$work/venv/bin/python" - <<'PYTHON' 2> "$work/log" || { tail -20 "$work/log"; exit 1; }
import sys
from importlib.metadata import version

import timm
import torch
import torchvision
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


def outcome(network, strict):
    images = (torch.randn(2, 3, 64, 64),)
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        graph = torch.export.export(network.eval(), images, strict=strict).module()
        try:
            prepared = prepare_pt2e(graph, quantizer)
        except ValueError as error:
            return str(error)
        prepared(*images)
        nodes = convert_pt2e(prepared).graph.nodes
    return f"{sum('dequantize_per_channel' in str(node.target) for node in nodes)} quantised weights"


print(*(f"{name} {version(name)}" for name in ("torch", "torchvision", "torchao", "timm")))
refused, seen = "Input partition has more than one output node", []
for name, layers in (("resnet18", 21), ("resnet50", 54)):
    for strict in (False, True):
        theirs = outcome(torchvision.models.get_model(name, weights=None), strict)
        timms = outcome(timm.create_model(name), strict)
        print(f"{name}, strict={strict}: torchvision: {theirs}; timm: {timms}")
        taken = f"{layers} quantised weights"
        seen.append((theirs, timms) == (taken if strict else refused, taken))
sys.exit(0 if all(seen) else "the behaviour has changed")
PYTHON
