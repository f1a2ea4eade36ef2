#!/usr/bin/env bash
# timm 1.0.31: the card that push_to_hf_hub() writes says apache-2.0, whatever the licence of the weights.
#
# Expected: the card takes the licence that timm knows of the weights, or has none until the caller states one. Seen:
# without a `model_card` argument it says "license: apache-2.0" of a network of CC-BY-NC-4.0 weights, while config.json,
# pushed beside it, says cc-by-nc-4.0. The hub is replaced by a class that keeps the files; no weights are loaded.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1
"$work/venv/bin/python" - <<'PYTHON'
import json
import pathlib
import sys
import types

import timm
import timm.models._hub as hub

pushed = {}


class Hub:
    def __init__(self, **options):
        pass

    def create_repo(self, repo_id, **options):
        return types.SimpleNamespace(repo_id=repo_id)

    def file_exists(self, **options):
        return False

    def upload_folder(self, *, folder_path, **options):
        for file in pathlib.Path(folder_path).iterdir():
            pushed[file.name] = file.read_bytes()


hub.HfApi = Hub
model = timm.create_model("resnet18.fb_ssl_yfcc100m_ft_in1k", pretrained=False)
hub.push_to_hf_hub(model, "someone/net", safe_serialization=True)
card = [line for line in pushed["README.md"].decode().splitlines() if line.startswith("license")]
config = json.loads(pushed["config.json"])["pretrained_cfg"]["license"]
print("timm", timm.__version__)
print("pushed:", sorted(pushed))
print("README.md:  ", *card)
print("config.json: license:", config)
sys.exit(0 if card == ["license: apache-2.0"] and config == "cc-by-nc-4.0" else "the behaviour has changed")
PYTHON
