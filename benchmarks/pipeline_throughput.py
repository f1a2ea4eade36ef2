"""How much of what the cores allow a pipeline from JPEG files to embeddings reaches.

    python benchmarks/pipeline_throughput.py [--rounds N] [--images N] [--model NAME] [--engine NAME] [--output FILE]

D   images/s of reading, decoding and preprocessing alone, on all cores, nothing beside it
I   images/s of one engine alone, on all cores, on batches that are decoded already
P   images/s of the whole: files to embeddings, `runtime.loader.load_batches` and `Engine.infer`, as
    `run-ssl bench --scope end-to-end` calls them

An image costs 1/D + 1/I seconds of all cores, so the most that P can be is 1 / (1/D + 1/I), and the result is
P * (1/D + 1/I), of which at least 90 % is wanted. All three are measured in turn in every round, in an order that is
reversed every other round, in one process; the figures are medians over rounds, the share's the median of the rounds'.

What others used of the cores meanwhile is recorded, as in `compare_throughput.py`: rounds above `QUIET_CORES` are
shown in brackets and not counted, whatever their figures, and measuring goes on until enough were quiet, or `ATTEMPTS`
times as many were not.

The input is made here, the same for a seed: JPEGs of 500 x 375 on average, cut from the packaged photographs.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench_bundles import export_random
from compare_throughput import ATTEMPTS, QUIET_CORES, decoding_rate, inference_rate, watch, write_pictures
from environment import describe_environment
from rich.console import Console
from rich.table import Table

from runtime.bundle import Bundle, open_bundle
from runtime.dataset import Dataset, open_dataset
from runtime.engine import Engine
from runtime.load import EngineOptions, load_engine
from runtime.loader import load_batches, usable_cores

BATCH = 32
LEAST_IMAGES = 1000
TARGET = 0.9


@dataclass(frozen=True)
class Round:
    """Images per second, measured one after the other: see the module.

    Attributes:
        decoding: D, images/s.
        inference: I, images/s.
        pipeline: P, images/s.
        others: Cores that other processes used meanwhile, the most of the three measurements.
    """

    decoding: float
    inference: float
    pipeline: float
    others: float

    @property
    def share(self) -> float:
        """What the pipeline reaches of what the cores allow."""
        return self.pipeline * (1 / self.decoding + 1 / self.inference)


def pipeline_rate(dataset: Dataset, bundle: Bundle, engine: Engine) -> float:
    """Return P: every image of the data set from its file to its embedding."""
    began, images = time.perf_counter(), 0
    with load_batches(dataset, bundle.manifest.preprocessing, batch_size=BATCH) as batches:
        for batch in batches:
            images += len(engine.infer(batch.pixels).embedding)
    return images / (time.perf_counter() - began)


def measure(bundle: Bundle, folder: Path, *, engine_name: str, rounds: int) -> tuple[list[Round], str]:
    """Return the rounds, and what the engine executes."""
    dataset = open_dataset(str(folder), bundle.labels())
    # As `run-ssl compare` opens an engine: its threads sleep while files are decoded.
    with load_engine(bundle, engine_name, EngineOptions(share_cores=True)) as engine:
        batches = list(load_batches(dataset, bundle.manifest.preprocessing, batch_size=BATCH))
        # The shapes that occur: a whole batch, and the last one.
        inference_rate([engine], [batches[0], batches[-1]])
        figures: dict[str, Callable[[], float]] = {
            "decoding": lambda: decoding_rate(dataset, bundle),
            "inference": lambda: inference_rate([engine], batches),
            "pipeline": lambda: pipeline_rate(dataset, bundle, engine),
        }
        found: list[Round] = []
        while len(quiet(found)) < rounds and len(found) < ATTEMPTS * rounds:
            names = list(figures) if len(found) % 2 == 0 else list(reversed(figures))
            watched = {name: watch(figures[name]) for name in names}
            others = max(busy for _, busy in watched.values())
            found.append(Round(**{name: rate for name, (rate, _) in watched.items()}, others=others))
            print(f"round {len(found)}: {found[-1]}, share {found[-1].share:.3f}", file=sys.stderr)
        return found, f"{engine.name} ({engine.precision})"


def quiet(rounds: Sequence[Round]) -> list[Round]:
    """Return the rounds that count."""
    return [one for one in rounds if one.others < QUIET_CORES]


def summarise(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the medians, of the shares too."""
    return {
        name: statistics.median(float(getattr(one, name)) for one in rounds)
        for name in ("decoding", "inference", "pipeline", "others", "share")
    }


def print_table(rounds: Sequence[Round], console: Console) -> None:
    """Print every round and the medians of those that count."""
    table = Table("round", "D images/s", "I images/s", "P images/s", "P of 1 / (1/D + 1/I)", "cores of others")
    counted = quiet(rounds)
    rows = [
        (str(number) if one in counted else f"({number})", {**asdict(one), "share": one.share})
        for number, one in enumerate(rounds, 1)
    ]
    for name, one in [*rows, *([("median", summarise(counted))] if counted else [])]:
        figures = (f"{one[key]:,.1f}" for key in ("decoding", "inference", "pipeline"))
        table.add_row(name, *figures, f"{100 * one['share']:.1f} %", f"{one['others']:.2f}")
    console.print(table)


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
    counted = quiet(rounds)
    middle = summarise(counted) if counted else None
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
        "rounds": [{**asdict(one), "share": one.share} for one in rounds],
        "counted_rounds": len(counted),
        "median": middle,
        "share": middle["share"] if middle else None,
        "target": TARGET,
    }
    print_table(rounds, Console())
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if middle is None or len(counted) < arguments.rounds:
        sys.exit(
            f"{len(counted)} of {arguments.rounds} rounds were quiet: others used {QUIET_CORES} cores or more in the "
            "rest; measure again on a machine at rest"
        )
    print(f"P * (1/D + 1/I) = {middle['share']:.3f}, at least {TARGET} is wanted")


if __name__ == "__main__":
    main()
