#!/usr/bin/env bash
# torch 2.15.0: torch.load() cannot read back what torch.save() wrote, if the file's name ends in .safetensors.
#
# Expected: torch.load() looks at the content, as it does to tell its own two formats apart, or torch.save() heeds the
# ending too. Seen: the ending alone chooses the reader. A file that torch.save() wrote as w.safetensors is refused with
# "header too large"; a safetensors file is read by its name and refused as an open file or under another ending.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the constraints that a machine's pip may have, as they can hide the newest version.
PIP_CONSTRAINT=/dev/null "$work/venv/bin/pip" install --quiet torch==2.15.0 safetensors==0.8.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import shutil
import sys

import torch
from safetensors.torch import save_file

weights = {"w": torch.ones(2)}
torch.save(weights, "saved.pt")
torch.save(weights, "saved.safetensors")
save_file(weights, "real.safetensors")
shutil.copy("real.safetensors", "real.bin")


def load(source):
    try:
        return "read" if torch.equal(torch.load(source)["w"], weights["w"]) else "other weights"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:70]}"


print("torch", torch.__version__)
seen = {name: load(name) for name in ("saved.pt", "saved.safetensors", "real.safetensors", "real.bin")}
with open("saved.safetensors", "rb") as file:
    seen["saved.safetensors, opened"] = load(file)
with open("real.safetensors", "rb") as file:
    seen["real.safetensors, opened"] = load(file)
for name, result in seen.items():
    print(f"{name}: {result}")
read = [name for name, result in seen.items() if result == "read"]
same = read == ["saved.pt", "real.safetensors", "saved.safetensors, opened"]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
