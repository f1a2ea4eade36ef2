"""What the trials read, made once by this environment: bundles, a checkpoint, pictures."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.helpers.tiny_resnet import draw

CLASSES, PICTURES = 4, 32
# Options of an export of the checkpoint: ResNet-18, small images.
OWN = ("--model", "resnet18", "--licence", "MIT", "--img-size", "64")
INT8 = ("--int8", "--int8-target", "cpu")


def make_checkpoint(folder: Path) -> None:
    """Make a folder with `pictures/` in class folders, and the checkpoint `network.safetensors` of a ResNet-18."""
    import timm
    import torch
    from safetensors.torch import save_file

    for number in range(PICTURES):
        file = folder / "pictures" / f"class_{number % CLASSES}" / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number)).save(file)
    torch.manual_seed(0)
    save_file(timm.create_model("resnet18", num_classes=CLASSES).state_dict(), folder / "network.safetensors")


def make_inputs(folder: Path) -> Path:
    """Return a folder with the same, and with bundles of the checkpoint at 64 pixels: `fp32`, `fp16` and `int8`."""
    make_checkpoint(folder)
    pictures = folder / "pictures"
    own = (*OWN, "--weights", str(folder / "network.safetensors"), "--labels", str(pictures))
    precisions = {"fp32": (), "fp16": ("--fp16",), "int8": (*INT8, "--calib", str(pictures))}
    for name, options in precisions.items():
        words = [str(Path(sys.prefix) / "bin" / "export-ssl"), *own, *options, "--output", str(folder / name)]
        subprocess.run(words, check=True, capture_output=True)
    return folder
