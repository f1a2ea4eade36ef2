"""How much of what the cores allow a pipeline from JPEG files to embeddings reaches.

    python -m benchmarks.embed.pipeline [--rounds N] [--images N] [--model NAME] [--engine NAME] [--output FILE]

D   images/s of reading, decoding and preprocessing alone, on all cores, nothing beside it
I   images/s of one engine alone, on all cores, on batches that are decoded already
P   images/s of the whole: files to embeddings, `runtime.data.batches.load_batches` and `Engine.infer`, as
    `run-ssl bench --scope end-to-end` calls them

The result is P * (1/D + 1/I), the share of what the cores allow, of which at least 90 % is wanted. All three are
measured in turn in every round, in an order that is reversed every other round, in one process; the figures are
medians over rounds, the share's the median of the rounds'. Which rounds count is said in `shared/throughput_rounds.py`.

The input is made here, the same for a seed: JPEGs of 500 x 375 on average, cut from the packaged photographs.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks.compare.throughput import decoding_rate, inference_rate, write_pictures
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.random_bundles import export_random
from benchmarks.shared.throughput_rounds import (
    DECODING,
    INFERENCE,
    Round,
    measure_rounds,
    medians,
    middle_share,
    print_shares,
    quiet,
    require_quiet,
    write_result,
)
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.data.batches import load_batches
from runtime.data.class_folders import read_class_folders
from runtime.data.dataset import Dataset
from runtime.engines.contract import Engine
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.support.cpu import usable_cores

BATCH = 32
LEAST_IMAGES = 1000
TARGET = 0.9
# What the rate of the pipeline is called in the result.
WHOLE = "pipeline"


def pipeline_rate(dataset: Dataset, bundle: Bundle, engine: Engine) -> float:
    """Return P: every image of the data set from its file to its embedding."""
    began, images = time.perf_counter(), 0
    with load_batches(dataset, bundle.manifest.preprocessing, batch_size=BATCH) as batches:
        for batch in batches:
            images += len(engine.infer(batch.pixels).embedding)
    return images / (time.perf_counter() - began)


def measure(bundle: Bundle, folder: Path, *, engine_name: str, rounds: int) -> tuple[list[Round], str]:
    """Return the rounds, and what the engine executes."""
    dataset = read_class_folders(folder, bundle.labels())
    # As `run-ssl compare` opens an engine: its threads sleep while files are decoded.
    with load_engine(bundle, engine_name, EngineOptions(share_cores=True)) as engine:
        batches = list(load_batches(dataset, bundle.manifest.preprocessing, batch_size=BATCH))
        # The shapes that occur: a whole batch, and the last one.
        inference_rate([engine], [batches[0], batches[-1]])
        figures = {
            DECODING: lambda: decoding_rate(dataset, bundle),
            INFERENCE: lambda: inference_rate([engine], batches),
            WHOLE: lambda: pipeline_rate(dataset, bundle, engine),
        }
        return measure_rounds(figures, rounds=rounds, reverse=True), f"{engine.name} ({engine.precision})"


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: %(default)s)")
    parser.add_argument("--images", type=int, default=LEAST_IMAGES, help="pictures to make (default: %(default)s)")
    parser.add_argument("--img-size", type=int, default=224, help="the network's input, pixels (default: %(default)s)")
    parser.add_argument("--model", default="ssl_resnet18", help="the network (default: %(default)s)")
    parser.add_argument("--precision", default="int8", choices=("fp32", "int8"), help="default: %(default)s")
    parser.add_argument("--engine", default="openvino", help="the engine (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table and write the JSON."""
    arguments = parse_arguments()
    environment = describe_environment("onnxruntime", "openvino", "numpy", "pillow")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "pictures")
        path = export_random(
            arguments.model, Path(temporary), precision=arguments.precision, img_size=arguments.img_size
        )
        bundle = open_bundle(path)
        write_pictures(folder, arguments.images, bundle.labels())
        sizes = [file.stat().st_size for file in folder.rglob("*.jpg")]
        rounds, engine = measure(bundle, folder, engine_name=arguments.engine, rounds=arguments.rounds)
    middle, share = medians(rounds), middle_share(rounds, WHOLE)
    result = {
        **environment,
        "model": arguments.model,
        "precision": arguments.precision,
        "engine": engine,
        "image_size": arguments.img_size,
        "images": arguments.images,
        "mean_jpeg_bytes": round(statistics.mean(sizes)),
        "batch_size": BATCH,
        "workers": usable_cores(),
        "rounds": [{**one.as_json(), "share": one.share(WHOLE)} for one in rounds],
        "counted_rounds": len(quiet(rounds)),
        "median": {**middle.as_json(), "share": share} if middle else None,
        "share": share,
        "target": TARGET,
    }
    print_shares(rounds, Console(), whole=WHOLE, letter="P", share=share)
    write_result(result, arguments.output)
    require_quiet(rounds, arguments.rounds)
    print(f"P * (1/D + 1/I) = {share:.3f}, at least {TARGET} is wanted")


if __name__ == "__main__":
    main()
