"""Which ResNets of timm can be exported, and how near they stay: every architecture, in every precision.

    python -m benchmarks.export.family [--only WORD …] [--limit MINUTES]

Every network of timm's `resnet` module, and those of `senet` and `byobnet` that are ResNets by name, with random
weights, 10 classes and 64 pixels: FP32, FP16, and INT8 for both targets, by the exporter that users run. The INT8 is
calibrated on 64 pieces of the packaged photographs, and judged on 8 others; networks with random weights lose more by
INT8 than trained ones do, so its figures are a lower bound.

Every export is a process of its own: FP32 and FP16 of all networks first, then INT8, the smallest network first. The
result is written after each, and what has a figure or a reason is not run again: delete it, or the file, to do so.
`docs/reference/models.md` is made from it.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.shared.environment import ROOT, describe_environment
from runtime.support.files import atomic_file

RESULT = ROOT / "benchmarks" / "results" / "family.json"
# FP16 goes through FP32, so that one export has both; FP32 is exported by itself where FP16 is refused.
EXPORTS: dict[str, tuple[str, ...]] = {
    "fp32": (),
    "fp16": ("--fp16",),
    "int8-cpu": ("--int8", "--int8-target", "cpu"),
    "int8-tensorrt": ("--int8", "--fp16", "--int8-target", "tensorrt"),
}
# Others of these modules are VGG-like, CSP and RegNet-like networks.
_RESNETS_BY_NAME = {"senet": "legacy_seres", "byobnet": "resn"}
_PIECES, _PIECE_SIZE = 72, 96
_MINUTES_OF_ONE_EXPORT = 60
# Exit codes of a command that SIGINT, SIGTERM or SIGKILL ended: they say nothing about a network.
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGKILL)


def family() -> list[str]:
    """Return the names of the networks, those with the fewest parameters first."""
    import timm
    import torch

    names = timm.list_models(module="resnet")
    for module, word in _RESNETS_BY_NAME.items():
        names += [name for name in timm.list_models(module=module) if word in name]

    def parameters(name: str) -> int:
        with torch.device("meta"):
            return sum(tensor.numel() for tensor in timm.create_model(name, pretrained=False).parameters())

    return sorted(names, key=parameters)


def write_pictures(folder: Path) -> None:
    """Write square pieces of the packaged photographs, the same ones every time."""
    photographs = sorted((ROOT / "exporter" / "photographs").glob("*.jpg"))
    rng = np.random.default_rng(0)
    for number in range(_PIECES):
        with Image.open(photographs[number % len(photographs)]) as opened:
            photograph = opened.convert("RGB")
        left, top = (int(rng.integers(0, side - _PIECE_SIZE)) for side in photograph.size)
        piece = photograph.crop((left, top, left + _PIECE_SIZE, top + _PIECE_SIZE))
        piece.save(folder / f"{number:02}.png")


def export(name: str, precision: str, pictures: Path) -> dict[str, dict[str, Any]]:
    """Return by precision how near each output of a network is, decibels, or the sentence that the export ended in."""
    precisions = ("fp32", "fp16") if precision == "fp16" else (precision,)
    with tempfile.TemporaryDirectory(prefix="export-ssl-family-") as folder:
        words = [
            *(str(Path(sys.prefix) / "bin" / "export-ssl"), "--model", name, "--weights", "random", "--img-size", "64"),
            *("--num-classes", "10", "--output", f"{folder}/bundle", "--json", *EXPORTS[precision]),
            *(("--calib", str(pictures)) if "int8" in precision else ()),
        ]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=60 * _MINUTES_OF_ONE_EXPORT
            )
        except subprocess.TimeoutExpired:
            return {one: {"reason": f"not exported within {_MINUTES_OF_ONE_EXPORT} minutes"} for one in precisions}
    if done.returncode in _INTERRUPTED:
        sys.exit(f"{name}, {precision}: interrupted, and nothing stored; run the command again to go on")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        refused = {precision: {"reason": lines[-1].replace(str(pictures), "FOLDER")}}
        return refused | (export(name, "fp32", pictures) if precision == "fp16" else {})
    steps = {step["name"]: step["outputs"] for step in json.loads(done.stdout)["steps"]}
    last = {"fp32": "simplify"}
    return {
        one: {"sqnr_db": {output: found["sqnr_db"] for output, found in steps[last.get(one, "final")].items()}}
        for one in precisions
    }


def read_result() -> dict[str, Any]:
    """Return what has been measured so far."""
    if RESULT.exists():
        stored: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
        return stored
    return {"networks": {}}


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=[], help="words of which a network's name has one")
    parser.add_argument("--limit", type=float, default=600.0, help="minutes after which no network is begun")
    arguments = parser.parse_args()
    began, result = time.monotonic(), read_result()
    result["environment"] = describe_environment("torch", "timm", "onnx", "onnxruntime")
    names = family()
    result["family"] = sorted(names)
    with tempfile.TemporaryDirectory(prefix="export-ssl-pictures-") as pictures:
        write_pictures(Path(pictures))
        first = [(name, "fp16") for name in names]
        then = [(name, precision) for name in names for precision in EXPORTS if "int8" in precision]
        for name, precision in first + then:
            wanted = not arguments.only or any(word in name for word in arguments.only)
            row = result["networks"].setdefault(name, {}) if wanted else {}
            if precision in row or not wanted or time.monotonic() - began > 60 * arguments.limit:
                continue
            row |= export(name, precision, Path(pictures))
            print(name, precision, json.dumps(row), file=sys.stderr, flush=True)
            with atomic_file(RESULT) as file:
                file.write(json.dumps(result, indent=1, sort_keys=True).encode() + b"\n")


if __name__ == "__main__":
    main()
