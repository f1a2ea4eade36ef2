"""Train timm's resnet18 and resnet50 on generated fractals: networks on a task that is not easy, offline.

    python -m benchmarks.inputs.train_fractals FOLDER [--model resnet18] [--model resnet50] [--start FILE]

writes

    FOLDER/fractals/train/<class>/*.jpg   CLASSES x TRAIN_PER_CLASS pictures, 144 x 144
    FOLDER/fractals/val/<class>/*.jpg     CLASSES x VAL_PER_CLASS pictures that training never sees
    FOLDER/fractals_<model>.safetensors   the checkpoints
    FOLDER/fractals_labels.txt            the class names, one per line

A class is an iterated function system: a few affine maps, drawn until they contract. A picture is one
attractor of it with its maps' coefficients changed by some per cent, turned, mirrored, moved and
scaled, coloured by the last map used, over a background of noise of every scale, saved as JPEG. The
noise and the changes are what makes the task hard enough that FP32 top-1 lies between 60 and 90 %.

Source: Kataoka et al., Pre-training without Natural Images, ACCV 2020 (arXiv 2101.08515).
"""

import argparse
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from exporter.models import resolve_model
from exporter.preprocessing import resolve_preprocessing
from exporter.request import Recipe
from runtime.images.reading import load_pixels

CLASSES = 50
TRAIN_PER_CLASS = 160
VAL_PER_CLASS = 40
PICTURE_SIZE = 144
# The size that the networks are trained and evaluated at, pixels.
IMAGE_SIZE = 112
BATCH = 64
SEED = 0
# One cosine cycle each; a ResNet-50 learns the shapes later than a ResNet-18, unless it starts with what it learned of
# digits (`--start`).
EPOCHS = {"resnet18": 14, "resnet50": 10}
PEAK_LEARNING_RATE = {"resnet18": 0.08, "resnet50": 0.06}
# Standard deviation of a picture's coefficients around its class's, relative, drawn anew for every picture:
# the easy pictures let training begin, the hard ones keep errors in the validation set.
COEFFICIENT_NOISE = (0.03, 0.33)
POINTS, STEPS, BURN_IN = 400, 150, 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cycle:
    """One cycle of a training.

    Attributes:
        name: The network's, for the progress.
        epochs: Number of passes over the pictures.
        peak_learning_rate: The largest learning rate.
        seed: Seed of the order and of the changes of the pictures.
    """

    name: str
    epochs: int
    peak_learning_rate: float
    seed: int


def draw_system(rng: np.random.Generator) -> Floats:
    """Return the maps of a class, (maps, 2, 3): x -> A x + b, each contracting, none dominating."""
    while True:
        maps = rng.uniform(-1, 1, (int(rng.integers(2, 7)), 2, 3))
        singular = np.linalg.svd(maps[:, :, :2], compute_uv=False)
        # Sparse attractors are dots, crowded ones are blobs: the sum of singular values keeps between.
        total = float((singular[:, 0] + 2 * singular[:, 1]).sum())
        if singular.max() < 0.95 and 0.5 * (5 + len(maps)) <= total <= 0.5 * (6 + len(maps)):
            return maps


def iterate(maps: Floats, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return points of the attractor, (N, 2), and the map that made each, (N,): the chaos game, in parallel."""
    areas = np.abs(np.linalg.det(maps[:, :, :2])) + 0.01
    chances = areas / areas.sum()
    points = np.zeros((POINTS, 2))
    kept, makers = [], []
    for step in range(STEPS):
        chosen = rng.choice(len(maps), POINTS, p=chances)
        points = np.einsum("nij,nj->ni", maps[chosen, :, :2], points) + maps[chosen, :, 2]
        if step >= BURN_IN:
            kept.append(points)
            makers.append(chosen)
    return np.concatenate(kept), np.concatenate(makers)


def draw_background(rng: np.random.Generator) -> Floats:
    """Return noise of every scale, (PICTURE_SIZE, PICTURE_SIZE, 3), values about 0 to 255."""
    picture = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3))
    for cells in (2, 4, 9, 18, 48):
        noise = rng.uniform(0, 255, (cells, cells, 3)).astype(np.uint8)
        scaled = Image.fromarray(noise).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BICUBIC)
        picture += np.asarray(scaled, np.float64) * rng.uniform(0.02, 0.14)
    return picture


def draw_picture(system: Floats, rng: np.random.Generator) -> Image.Image:
    """Return one picture of a class."""
    maps = system * (1 + rng.normal(0, rng.uniform(*COEFFICIENT_NOISE), system.shape))
    largest = np.linalg.svd(maps[:, :, :2], compute_uv=False)[:, :1, None]
    maps[:, :, :2] *= np.minimum(1, 0.97 / largest)
    points, makers = iterate(maps, rng)
    low, high = np.percentile(points, 1, axis=0), np.percentile(points, 99, axis=0)
    centred = (points - (low + high) / 2) / max(float((high - low).max()), 1e-6)
    angle = rng.uniform(-0.6, 0.6)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centred = centred @ turn * rng.uniform(0.55, 1.0) * [rng.choice([-1, 1]), 1] + rng.uniform(-0.12, 0.12, 2)
    cells = np.floor((centred + 0.5) * PICTURE_SIZE).astype(int)
    inside = ((cells >= 0) & (cells < PICTURE_SIZE)).all(axis=1)
    cells, makers = cells[inside], makers[inside]
    colours = rng.uniform(0, 255, (len(system), 3))
    picture = draw_background(rng)
    strength = rng.uniform(0.7, 1.0)
    there = (cells[:, 1], cells[:, 0])
    picture[there] = (1 - strength) * picture[there] + strength * colours[makers]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def write_class(folder: Path, label: int) -> None:
    """Write all pictures of one class; every class has a generator of its own."""
    rng = np.random.default_rng([SEED, label])
    system = draw_system(rng)
    for split, count in (("train", TRAIN_PER_CLASS), ("val", VAL_PER_CLASS)):
        for number in range(count):
            path = folder / split / f"fractal_{label:02d}" / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_picture(system, rng).save(path, quality=92)


def write_pictures(folder: Path) -> None:
    """Write the data set, unless a run before has done so."""
    if (folder / "complete").exists():
        return
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_class, [folder] * CLASSES, range(CLASSES)))
    (folder / "complete").touch()


def load_split(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels (N, 3, IMAGE_SIZE, IMAGE_SIZE) uint8 and labels (N,) int64 of one split."""
    preprocessing = resolve_preprocessing(
        resolve_model("resnet18"), Recipe(img_size=IMAGE_SIZE, interpolation="bilinear")
    )
    files = sorted(folder.glob("*/*.jpg"))
    pixels = np.stack([load_pixels(file, preprocessing) for file in files])
    labels = torch.tensor([int(file.parent.name.removeprefix("fractal_")) for file in files])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels


def scale(pixels: torch.Tensor) -> torch.Tensor:
    """Return (N, 3, H, W) float32, channels last, (pixel / 255 - mean) / std by ImageNet's figures."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return ((pixels.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the batch mirrored at random and moved by up to 8 pixels."""
    if torch.rand((), generator=generator) < 0.5:
        pixels = pixels.flip(3)
    dy, dx = (int(torch.randint(-8, 9, (), generator=generator)) for _ in range(2))
    return pixels.roll((dy, dx), (2, 3))


def faster_in_bfloat16() -> bool:
    """Return whether this CPU multiplies faster in bfloat16: emulated, it takes ten times as long."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1)
    picture = torch.zeros(8, 64, 28, 28)
    seconds = {True: math.inf, False: math.inf}
    for _ in range(3):
        for bfloat16 in seconds:
            began = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                layer(picture).sum().backward()
            seconds[bfloat16] = min(seconds[bfloat16], time.perf_counter() - began)
    return seconds[True] < seconds[False]


def start_from(network: torch.nn.Module, checkpoint: Path) -> None:
    """Load all but the classifier from a checkpoint of the same network."""
    state = {name: tensor for name, tensor in load_file(checkpoint).items() if not name.startswith("fc.")}
    missing, unknown = network.load_state_dict(state, strict=False)
    if unknown or any(not name.startswith("fc.") for name in missing):
        sys.exit(f"{checkpoint} is no checkpoint of this network: {[*missing, *unknown][0]}")


def train(network: torch.nn.Module, pixels: torch.Tensor, labels: torch.Tensor, run: Cycle) -> None:
    """Train a network with SGD over one cosine cycle, in bfloat16 where the CPU is faster in it."""
    generator = torch.Generator().manual_seed(run.seed)
    epochs, peak, bfloat16 = run.epochs, run.peak_learning_rate, faster_in_bfloat16()
    optimiser = torch.optim.SGD(network.parameters(), lr=peak, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * math.ceil(len(pixels) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
    for epoch in range(epochs):
        network.train()
        began, losses = time.perf_counter(), []
        for chosen in torch.randperm(len(pixels), generator=generator).split(BATCH):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                logits = network(scale(augment(pixels[chosen], generator)))
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        took = time.perf_counter() - began
        print(f"{run.name}, epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {took:.0f} s", flush=True)
    network.eval()


def accuracy(network: torch.nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Return top-1 accuracy in float32, a fraction."""
    with torch.no_grad():
        found = torch.cat([network(scale(batch)).argmax(1) for batch in pixels.split(BATCH)])
    return float((found == labels).float().mean())


def main() -> None:
    """Write the pictures, train, and save the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where to write; made if absent")
    parser.add_argument("--model", action="append", choices=sorted(EPOCHS), help="default: both")
    parser.add_argument("--epochs", type=int, help="train for so many; default: what the figures were made with")
    parser.add_argument("--start", type=Path, help="safetensors of the same network to start from, such as the digits'")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_pictures(folder / "fractals")
    names = "".join(f"fractal_{label:02d}\n" for label in range(CLASSES))
    (folder / "fractals_labels.txt").write_text(names, encoding="utf-8")
    training, validation = (load_split(folder / "fractals" / split) for split in ("train", "val"))
    for model in arguments.model or sorted(EPOCHS):
        torch.manual_seed(SEED)
        network = timm.create_model(model, pretrained=False, num_classes=CLASSES).to(memory_format=torch.channels_last)
        if arguments.start:
            start_from(network, arguments.start)
        epochs = arguments.epochs or EPOCHS[model]
        train(network, *training, Cycle(model, epochs, PEAK_LEARNING_RATE[model], SEED))
        print(f"{model}: held-out top-1 {100 * accuracy(network, *validation):.2f} %", flush=True)
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(state, folder / f"fractals_{model}.safetensors")


if __name__ == "__main__":
    main()
