"""Train networks of timm's on scikit-learn's handwritten digits: real networks on real images, offline.

    python -m benchmarks.inputs.train_digits FOLDER [--model resnet18] [--model resnet26d] [--epochs N]

writes

    FOLDER/digits/train/<digit>/*.png   1,437 pictures, 64 x 64
    FOLDER/digits/val/<digit>/*.png     360 pictures that training never sees
    FOLDER/digits_<model>.safetensors   the checkpoints
    FOLDER/digits_labels.txt            the class names, one per line

A ResNet-18 takes about 20 s on two cores and reaches 97 to 98 % on `val`; a ResNet-50 takes minutes. Everything
after training is done by the commands that a user calls; see `make demo`.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from exporter.models import resolve_model
from exporter.preprocessing import resolve_preprocessing
from exporter.request import Recipe
from runtime.bundle.manifest import Preprocessing
from runtime.images.preprocessing import normalise
from runtime.images.reading import load_pixels

IMAGE_SIZE = 64
EPOCHS = 8
BATCH = 64
PEAK_LEARNING_RATE = 0.05
SEED = 0


def write_pictures(folder: Path) -> None:
    """Write the digits, 8 x 8 with 17 grey levels, as 64 x 64 PNG files in class folders."""
    digits = load_digits()
    indices = np.arange(len(digits.target))
    train, val = train_test_split(indices, test_size=0.2, stratify=digits.target, random_state=SEED)
    for split, chosen in (("train", train), ("val", val)):
        for index in sorted(chosen):
            path = folder / split / str(digits.target[index]) / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = np.round(digits.images[index] * (255 / 16)).astype(np.uint8)
            Image.fromarray(grey).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC).save(path)


def digits_preprocessing() -> Preprocessing:
    """Return how the digits become pixels, in training and in every export."""
    return resolve_preprocessing(resolve_model("resnet18"), Recipe(img_size=IMAGE_SIZE, interpolation="bilinear"))


def load_split(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised images (N, 3, 64, 64) float32 and labels (N,) int64 of one split."""
    preprocessing = digits_preprocessing()
    files = sorted(folder.glob("*/*.png"))
    pixels = np.stack([load_pixels(file, preprocessing) for file in files])
    labels = torch.tensor([int(file.parent.name) for file in files])
    return torch.from_numpy(normalise(pixels, preprocessing)), labels


def train(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    architecture: str = "resnet18",
    epochs: int = EPOCHS,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
) -> torch.nn.Module:
    """Return one of timm's networks, trained with SGD and one cosine cycle."""
    torch.manual_seed(SEED)
    network = timm.create_model(architecture, pretrained=False, num_classes=10)
    optimiser = torch.optim.SGD(network.parameters(), lr=peak_learning_rate, momentum=0.9, weight_decay=5e-4)
    steps = epochs * math.ceil(len(images) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_learning_rate, total_steps=steps)
    for epoch in range(epochs):
        network.train()
        began, losses = time.perf_counter(), []
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(network(images[chosen]), labels[chosen], label_smoothing=0.1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {time.perf_counter() - began:.1f} s", flush=True
        )
    trained: torch.nn.Module = network.eval()
    return trained


def main() -> None:
    """Write the pictures, train, and save the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where to write; made if absent")
    parser.add_argument("--model", action="append", help="timm's name of a network; again for more (default: resnet18)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_pictures(folder / "digits")
    (folder / "digits_labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)), encoding="utf-8")
    training, (images, labels) = (load_split(folder / "digits" / split) for split in ("train", "val"))
    for model in arguments.model or ["resnet18"]:
        network = train(*training, architecture=model, epochs=arguments.epochs)
        with torch.no_grad():
            correct = int((network(images).argmax(1) == labels).sum())
        print(f"{model}: held-out accuracy: {correct}/{len(labels)} = {100 * correct / len(labels):.2f} %", flush=True)
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(state, folder / f"digits_{model}.safetensors")


if __name__ == "__main__":
    main()
