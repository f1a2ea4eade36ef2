"""Pretrain timm's resnet18 on generated fractals without their labels: a backbone without a classifier, offline.

    python -m benchmarks.inputs.train_simsiam FOLDER [--cpu-minutes 7]

writes

    FOLDER/pictures/train/<class>/*.jpg   CLASSES x TRAIN_PER_CLASS pictures, of `train_fractals.py`'s kind
    FOLDER/pictures/val/<class>/*.jpg     CLASSES x VAL_PER_CLASS pictures that training never sees
    FOLDER/simsiam_resnet18.pth           the backbone's state dict, without a classifier
    FOLDER/simsiam_checkpoint.pth         the training's checkpoint, in the layout of the authors' own code

A few minutes of one processor make no good backbone: what counts is that its embeddings are those of a network that was
trained, with activations and neighbours of that kind. Training stops at the end of the step in which the processor time
is used up, so two runs differ.

Source: Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021 (arXiv 2011.10566): two views of an
image, a projection, a prediction, the negative cosine with a stopped gradient; the layout is that of
github.com/facebookresearch/simsiam, `main_simsiam.py`.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torchvision.transforms import v2

from benchmarks.inputs.train_fractals import SEED, draw_picture, draw_system, scale
from exporter.models import resolve_model
from exporter.preprocessing import resolve_preprocessing
from exporter.request import Recipe
from runtime.images.reading import load_pixels

CLASSES = 10
TRAIN_PER_CLASS = 64
VAL_PER_CLASS = 24
# The size that the network is trained and evaluated at, pixels.
IMAGE_SIZE = 64
BATCH = 64
PROJECTION, BOTTLENECK = 512, 128
LEARNING_RATE = 0.05


class SimSiam(torch.nn.Module):
    """The backbone with the projection and the prediction that training needs.

    Attributes:
        encoder: timm's resnet18 without a classifier.
        projector: Projection of the embedding, (N, 512) to (N, PROJECTION).
        predictor: Prediction of one view's projection from the other's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model("resnet18", pretrained=False, num_classes=0)
        self.projector = torch.nn.Sequential(
            torch.nn.Linear(512, PROJECTION, bias=False),
            torch.nn.BatchNorm1d(PROJECTION),
            torch.nn.ReLU(),
            torch.nn.Linear(PROJECTION, PROJECTION, bias=False),
            torch.nn.BatchNorm1d(PROJECTION, affine=False),
        )
        self.predictor = torch.nn.Sequential(
            torch.nn.Linear(PROJECTION, BOTTLENECK, bias=False),
            torch.nn.BatchNorm1d(BOTTLENECK),
            torch.nn.ReLU(),
            torch.nn.Linear(BOTTLENECK, PROJECTION),
        )

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the loss of two views, (N, 3, H, W) float32 each: -1 where they are equal."""
        projections = [self.projector(self.encoder(view)) for view in (first, second)]
        predictions = [self.predictor(projection) for projection in projections]
        near = [
            torch.nn.functional.cosine_similarity(predictions[view], projections[1 - view].detach()).mean()
            for view in (0, 1)
        ]
        return -(near[0] + near[1]) / 2


def write_pictures(folder: Path) -> None:
    """Write the data set, unless a run before has done so."""
    if (folder / "complete").exists():
        return
    for label in range(CLASSES):
        rng = np.random.default_rng([SEED, label])
        system = draw_system(rng)
        for split, count in (("train", TRAIN_PER_CLASS), ("val", VAL_PER_CLASS)):
            target = folder / split / f"fractal_{label:02d}"
            target.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                draw_picture(system, rng).save(target / f"{number:04d}.jpg", quality=92)
    (folder / "complete").touch()


def load_pictures(folder: Path) -> torch.Tensor:
    """Return the pixels of all pictures below a folder, (N, 3, IMAGE_SIZE, IMAGE_SIZE) uint8."""
    recipe = Recipe(img_size=IMAGE_SIZE, interpolation="bilinear")
    preprocessing = resolve_preprocessing(resolve_model("resnet18"), recipe)
    pixels = np.stack([load_pixels(file, preprocessing) for file in sorted(folder.glob("*/*.jpg"))])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def train(model: SimSiam, pixels: torch.Tensor, *, cpu_seconds: float) -> int:
    """Train with SGD until the processor time is used up, and return the number of steps."""
    views = v2.Compose(
        [
            v2.RandomResizedCrop(IMAGE_SIZE, scale=(0.3, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
        ]
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
    model.train()
    steps, began = 0, time.process_time()
    while True:
        losses = []
        for chosen in torch.randperm(len(pixels)).split(BATCH):
            if len(chosen) < BATCH:
                continue
            first, second = (scale(torch.stack([views(pixels[one]) for one in chosen])) for _ in range(2))
            loss = model(first, second)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            steps += 1
            if time.process_time() - began > cpu_seconds:
                model.eval()
                return steps
        print(f"step {steps}: loss {np.mean(losses):.3f}, {time.process_time() - began:.0f} s", flush=True)


def main() -> None:
    """Write the pictures, train, and save the backbone and the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where to write; made if absent")
    parser.add_argument("--cpu-minutes", type=float, default=7.0, help="processor time of the training")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_pictures(folder / "pictures")
    torch.manual_seed(SEED)
    model = SimSiam().to(memory_format=torch.channels_last)
    steps = train(model, load_pictures(folder / "pictures/train"), cpu_seconds=60 * arguments.cpu_minutes)
    print(f"{steps} steps of {BATCH} images", flush=True)
    contiguous = {name: tensor.contiguous() for name, tensor in model.encoder.state_dict().items()}
    torch.save(contiguous, folder / "simsiam_resnet18.pth")
    wrapped = {f"module.encoder.{name}": tensor for name, tensor in contiguous.items()}
    wrapped |= {
        f"module.{places}.{name}": tensor
        for places, part in (("encoder.fc", model.projector), ("predictor", model.predictor))
        for name, tensor in part.state_dict().items()
    }
    checkpoint = {"epoch": 1, "arch": "resnet18", "state_dict": wrapped}
    torch.save(checkpoint, folder / "simsiam_checkpoint.pth")


if __name__ == "__main__":
    main()
