"""Bundles for the tests of TensorRT: ssl_resnet18 with drawn weights at 64 pixels, in the precisions that a plan has.

    python -m tests.helpers.gpu_bundles FOLDER

writes them with PyTorch's outputs of the same network, so that several runs of tests/gpu/test_gpu.py share them.
"""

import sys
from pathlib import Path

import numpy as np

from calibration.options import QuantizeOptions
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from tests.conftest import IMAGE_SIZE, MEAN, SEED, STD, crops, timm_network
from tests.helpers.paths import PHOTOGRAPHS

PRECISIONS = ("fp32", "fp16", "int8-fp16")
# Quick: what the tests are about is the plan, not how well its scales are.
_QUICK = QuantizeOptions(method="max", rounding=False, bias_correction=False)


def write_bundles(folder: Path) -> None:
    """Write a checkpoint, one bundle per precision, `pixels.npy` and PyTorch's `logits.npy` and `embedding.npy`."""
    from safetensors.torch import save_file

    from runtime.original.network import build_network
    from runtime.original.random_weights import randomise

    network = build_network("resnet18", 1000)
    randomise(network, SEED)
    checkpoint = folder / "drawn.safetensors"
    save_file(network.state_dict(), checkpoint)
    pictures = folder / "pictures"
    for number, picture in enumerate(crops()):
        (pictures / str(number % 4)).mkdir(parents=True, exist_ok=True)
        picture.save(pictures / str(number % 4) / f"{number}.png")
    for precision in PRECISIONS:
        export_bundle(
            ExportRequest(
                model="ssl_resnet18",
                fp16=precision.endswith("fp16"),
                int8=Int8Request(images=pictures, options=_QUICK) if precision.startswith("int8") else None,
                weights=WeightsChoice(source="file", path=checkpoint),
                img_size=IMAGE_SIZE,
                output=folder / precision,
            )
        )
    _write_reference(folder, checkpoint)


def _write_reference(folder: Path, checkpoint: Path) -> None:
    """Write what timm's network gives, computed without this project's code."""
    import torch

    assert PHOTOGRAPHS.is_dir()
    pixels = np.stack([np.asarray(picture.resize((IMAGE_SIZE, IMAGE_SIZE))) for picture in crops()])
    network = timm_network(checkpoint)
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        features = network.forward_features(
            (scaled - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        )
        embedding = network.forward_head(features, pre_logits=True)
        logits = network.fc(embedding)
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "logits.npy", logits.numpy())
    np.save(folder / "embedding.npy", embedding.numpy())


if __name__ == "__main__":
    write_bundles(Path(sys.argv[1]))
