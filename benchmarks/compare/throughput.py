"""How much of what the cores allow `run-ssl compare` reaches.

    python -m benchmarks.compare.throughput [--rounds N] [--images N] [--img-size PX] [--output FILE]

D   images/s of reading, decoding and preprocessing alone, on all cores, nothing beside it
I   images/s of the PyTorch original and all installed engines together, one after the other, on batches
    that are decoded already
C   images/s of `runtime.compare.job.run_comparison`, which does both: its report's `data.images_per_s`

The result is C * (1/D + 1/I), the share of what the cores allow. D, I and C are measured in turn, one after the other
in every round, in one process, and the medians are compared. D and I have had a warm-up, C has none: it is what a user
gets. Which rounds count is said in `shared/throughput_rounds.py`.

The input is made here, the same for a seed: JPEGs of 500 x 375 on average, cut from the photographs in
`exporter/photographs`, in folders named by ImageNet's ids, and an FP16 bundle with random weights.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console

from benchmarks.shared.environment import describe_environment
from benchmarks.shared.throughput_rounds import (
    DECODING,
    INFERENCE,
    Round,
    measure_rounds,
    medians,
    print_shares,
    quiet,
    require_quiet,
    write_result,
)
from exporter.checks.golden import golden_files
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, WeightsChoice
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.compare.job import run_comparison
from runtime.compare.request import DEFAULT_BATCH_SIZE, CompareRequest
from runtime.data.batches import Batch, load_batches
from runtime.data.class_folders import read_class_folders
from runtime.data.dataset import Dataset
from runtime.engines.contract import Engine
from runtime.engines.open_engine import ORIGINAL, EngineOptions, installed_engines, load_engine
from runtime.support.cpu import usable_cores

MODEL = "ssl_resnet18"
SEED = 0
CLASSES = 20
MEAN_SIZE = (500, 375)
JPEG_QUALITY = 90
# `run-ssl compare` should reach this share of what the cores allow.
TARGET = 0.9
# What the rate of the comparison is called in the result.
WHOLE = "compare"


def write_pictures(folder: Path, count: int, labels: Sequence[str]) -> None:
    """Write random crops of the packaged photographs as JPEGs in class folders."""
    generator = np.random.default_rng(SEED)
    photographs = [Image.open(path).convert("RGB") for path in golden_files(None)]
    classes = [label.partition("\t")[0] for label in labels[:: len(labels) // CLASSES][:CLASSES]]
    for index in range(count):
        path = folder / classes[index % CLASSES] / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_picture(photographs[index % len(photographs)], generator).save(path, quality=JPEG_QUALITY)


def cut_picture(photograph: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return a crop of at least half of each side, flipped or not, resized to about `MEAN_SIZE`."""
    width, height = (
        round(side * share) for side, share in zip(photograph.size, generator.uniform(0.5, 1, 2), strict=True)
    )
    left = int(generator.integers(photograph.width - width + 1))
    top = int(generator.integers(photograph.height - height + 1))
    crop = photograph.crop((left, top, left + width, top + height))
    if generator.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    wide, high = (round(side * share) for side, share in zip(MEAN_SIZE, generator.uniform(0.8, 1.2, 2), strict=True))
    return crop.resize((wide, high), Image.Resampling.BICUBIC)


def decoding_rate(dataset: Dataset, bundle: Bundle) -> float:
    """Return D: every batch is taken as soon as it is there, so the decoding threads never wait."""
    began = time.perf_counter()
    with load_batches(dataset, bundle.manifest.preprocessing, batch_size=DEFAULT_BATCH_SIZE, overlap=True) as batches:
        images = sum(len(batch.labels) for batch in batches)
    return images / (time.perf_counter() - began)


def inference_rate(engines: Sequence[Engine], batches: Sequence[Batch]) -> float:
    """Return I: the calls of `infer` alone, in the order in which a comparison makes them."""
    began = time.perf_counter()
    for batch in batches:
        for engine in engines:
            engine.infer(batch.pixels)
    return sum(len(batch.labels) for batch in batches) / (time.perf_counter() - began)


def compare_rate(folder: Path, bundle: Bundle) -> float:
    """Return C, with the defaults of `run-ssl compare`."""
    return run_comparison(CompareRequest(bundles=(bundle.path,), data=str(folder))).data.images_per_s


def measure(bundle: Bundle, folder: Path, rounds: int) -> tuple[list[Round], list[str]]:
    """Return the rounds, and the engines that were measured with their precisions."""
    dataset = read_class_folders(folder, bundle.labels())
    with ExitStack() as stack:
        # As a comparison opens them: on its own threads, which sleep while another engine runs.
        options = EngineOptions(share_cores=True)
        names = (ORIGINAL, *installed_engines())
        engines = [stack.enter_context(load_engine(bundle, name, options)) for name in names]
        batches = list(load_batches(dataset, bundle.manifest.preprocessing, batch_size=DEFAULT_BATCH_SIZE))
        # The shapes that occur: a whole batch, and the last one.
        inference_rate(engines, [batches[0], batches[-1]])
        figures = {
            DECODING: lambda: decoding_rate(dataset, bundle),
            INFERENCE: lambda: inference_rate(engines, batches),
            WHOLE: lambda: compare_rate(folder, bundle),
        }
        found = measure_rounds(figures, rounds=rounds, reverse=False)
        return found, [f"{engine.name} ({engine.precision})" for engine in engines]


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: %(default)s)")
    parser.add_argument("--images", type=int, default=600, help="pictures to make (default: %(default)s)")
    parser.add_argument("--img-size", type=int, default=224, help="the network's input, pixels (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("torch", "timm", "onnxruntime", "openvino", "numpy", "pillow")
    with tempfile.TemporaryDirectory() as temporary:
        target, folder = Path(temporary, "bundle"), Path(temporary, "pictures")
        export_bundle(
            ExportRequest(
                model=MODEL,
                fp16=True,
                weights=WeightsChoice(source="random", seed=SEED),
                img_size=arguments.img_size,
                output=target,
            )
        )
        bundle = open_bundle(target)
        write_pictures(folder, arguments.images, bundle.labels())
        sizes = [path.stat().st_size for path in folder.rglob("*.jpg")]
        rounds, engines = measure(bundle, folder, arguments.rounds)
    middle = medians(rounds)
    share = middle.share(WHOLE) if middle else None
    result = {
        **environment,
        "model": MODEL,
        "precision": "fp16",
        "image_size": arguments.img_size,
        "images": arguments.images,
        "mean_jpeg_bytes": round(statistics.mean(sizes)),
        "batch_size": DEFAULT_BATCH_SIZE,
        "workers": usable_cores(),
        "torch_threads": torch.get_num_threads(),
        "engines": engines,
        "rounds": [one.as_json() for one in rounds],
        "counted_rounds": len(quiet(rounds)),
        "median": middle.as_json() if middle else None,
        "share": share,
        "target": TARGET,
    }
    print_shares(rounds, Console(), whole=WHOLE, letter="C", share=share)
    write_result(result, arguments.output)
    require_quiet(rounds, arguments.rounds)
    print(f"C * (1/D + 1/I) = {share:.3f}, at least {TARGET} is wanted")


if __name__ == "__main__":
    main()
