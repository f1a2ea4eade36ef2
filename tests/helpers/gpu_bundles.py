"""Bundles for the tests of TensorRT: the network of `tests/conftest.py` in the precisions that a plan has."""

import shutil
from pathlib import Path

import numpy as np

from tests.conftest import IMAGE_SIZE, MEAN, STD, Exported, Quantized, crops, timm_network

PRECISIONS = ("fp32", "fp16", "int8-fp16")


def gather_bundles(folder: Path, exported: Exported, quantized: Quantized) -> None:
    """Copy the bundles, one per precision, and write `pixels.npy` and PyTorch's `logits.npy` and `embedding.npy`."""
    for precision, bundle in zip(PRECISIONS, (exported.fp32, exported.fp16, quantized.tensorrt), strict=True):
        shutil.copytree(bundle, folder / precision)
    _write_reference(folder, exported.checkpoint)


def _write_reference(folder: Path, checkpoint: Path) -> None:
    """Write what timm's network gives, computed without this project's code."""
    import torch

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
