"""What training changes of INT8: one small ResNet of each kind of timm's, trained and with random weights.

    python -m benchmarks.export.trained_kinds FOLDER [--only WORD …]

Each network is trained on the digits of `benchmarks.inputs.train_digits`, by its recipe in half of the epochs, unless
FOLDER has its checkpoint, `digits_NAME.safetensors`. (GroupNorm's loss grows so: it is trained for 12 epochs with a
fifth of the learning rate.) The network is exported in INT8 for both targets by the exporter that users run, calibrated
on 256 of the training pictures, and compared with PyTorch on the 360 held-out ones by `run-ssl compare`. Then the same
is done with random weights: the two differ in their weights alone. Calibration's own candidates say what equalisation
gives.

The result is written after each export, and what is there is not run again. `docs/reference/models.md` is made from
it, beside `benchmarks.export.family`.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from benchmarks.inputs.train_digits import (
    PEAK_LEARNING_RATE,
    digits_preprocessing,
    load_split,
    train,
    write_pictures,
)
from benchmarks.shared.environment import ROOT, describe_environment
from runtime.support.files import atomic_file

RESULT = ROOT / "benchmarks" / "results" / "trained_kinds.json"
# The smallest of each kind in timm's `resnet` module, and what the kind is; the first is what the others differ from.
KINDS = {
    "resnet18": "plain",
    "resnetblur18": "blurred strides",
    "resnetaa34d": "anti-aliased strides (average pooling)",
    "ecaresnet26t": "efficient channel attention",
    "seresnet18": "squeeze-and-excitation",
    "resnet50_gn": "GroupNorm",
}
TARGETS = ("cpu", "tensorrt")
# Peak learning rate and number of epochs.
_RECIPE = (PEAK_LEARNING_RATE, 4)
_RECIPES = {"resnet50_gn": (PEAK_LEARNING_RATE / 5, 12)}
_CALIBRATION_IMAGES = 256


def run(*words: object) -> dict[str, Any]:
    """Return what a command of this project prints as JSON.

    Raises:
        subprocess.CalledProcessError: The command failed; its message is on stderr.
    """
    command = [str(Path(sys.prefix) / "bin" / str(words[0])), *map(str, words[1:]), "--json"]
    printed: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    return printed


def measure(name: str, weights: Path | None, digits: Path, target: str) -> dict[str, Any]:
    """Return how near an INT8 export of a network is to it.

    Args:
        name: The architecture.
        weights: Checkpoint of the network; None for random weights.
        digits: Folder with `train` and `val`.
        target: Target of INT8.
    """
    pixels = digits_preprocessing()
    with tempfile.TemporaryDirectory(prefix="export-ssl-kinds-") as folder:
        bundle = Path(folder, "bundle")
        run(
            *("export-ssl", "--model", name, "--weights", weights or "random", "--img-size", pixels.image_size),
            *("--crop-pct", pixels.crop_pct, "--interpolation", pixels.interpolation),
            *(
                "--mean",
                *pixels.mean,
                "--std",
                *pixels.std,
                "--int8",
                "--int8-target",
                target,
                "--calib",
                digits / "train",
            ),
            *("--calib-images", _CALIBRATION_IMAGES, "--output", bundle, *(() if weights else ("--num-classes", 10))),
        )
        kept = json.loads((bundle / "calibration.json").read_text(encoding="utf-8"))
        compared = run(
            *("run-ssl", "compare", bundle, "--data", digits / "val", "--engines", "onnxruntime"),
            *(("--weights", weights) if weights else ()),
        )
    (engine,) = compared["engines"]
    candidates = {candidate["name"]: candidate["sqnr_db"] for candidate in kept["candidates"]}

    def best(ending: str) -> float | None:
        return max((found for of, found in candidates.items() if of.endswith(ending)), default=None)

    return {
        "sqnr_db": engine["sqnr_db"],
        "agreement": engine["agreement"],
        "top1": compared["original"]["top1"],
        "drop": engine["drop"],
        "images": compared["data"]["images"],
        "as_it_is_db": best("as it is"),
        "equalised_db": best("equalised"),
        "float_layers": kept["float_layers"],
    }


def checkpoint_of(name: str, folder: Path) -> Path:
    """Return the trained weights of a network, trained now where they are not there."""
    checkpoint = folder / f"digits_{name}.safetensors"
    if not checkpoint.exists():
        print(f"training {name}", file=sys.stderr, flush=True)
        rate, epochs = _RECIPES.get(name, _RECIPE)
        images, labels = load_split(folder / "digits" / "train")
        network = train(images, labels, architecture=name, epochs=epochs, peak_learning_rate=rate)
        save_file({of: tensor.contiguous() for of, tensor in network.state_dict().items()}, checkpoint)
    return checkpoint


def main() -> None:
    """Measure what is missing, trained networks first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where digits and checkpoints are, or are written")
    parser.add_argument("--only", nargs="*", default=[], help="words of which a network's name has one")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    result: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"networks": {}}
    result["environment"] = describe_environment("torch", "timm", "onnx", "onnxruntime")
    write_pictures(folder / "digits")
    names = [name for name in KINDS if not arguments.only or any(word in name for word in arguments.only)]
    for weights, name, target in itertools.product(("trained", "random"), names, TARGETS):
        found = result["networks"].setdefault(name, {}).setdefault(weights, {})
        if target in found:
            continue
        checkpoint = checkpoint_of(name, folder) if weights == "trained" else None
        found[target] = measure(name, checkpoint, folder / "digits", target)
        print(name, weights, target, json.dumps(found[target]), file=sys.stderr, flush=True)
        with atomic_file(RESULT) as file:
            file.write(json.dumps(result, indent=1, sort_keys=True).encode() + b"\n")


if __name__ == "__main__":
    main()
