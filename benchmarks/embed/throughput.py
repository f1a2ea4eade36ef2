"""How much of what the cores allow `run-ssl embed` reaches on thousands of JPEGs, and whether its memory stays fixed.

    python -m benchmarks.embed.throughput [--rounds N] [--images N] [--native LIBRARY] [--output FILE]

D   images/s of reading, hashing, decoding and preprocessing alone, on all cores: a job's own functions
I   images/s of the engine alone, on all cores, on batches that are decoded already
P   images/s of the whole job, `runtime.embed.job.run_embedding`, into a new output on the disk each time. The timer is
    around the whole call: opening the bundle, listing the images, opening the engine, decoding, inference, writing
    Parquet and flushing it to the disk

The result is P * (1/D + 1/I), the share of what the cores allow, of which at least 90 % is wanted. All three are
measured in turn in every round, in an order that is reversed every other round, in one process; the figures are
medians over rounds, the share's the median of the rounds'. Which rounds count is said in `shared/throughput_rounds.py`.

Then memory (`embed/memory.py`): `run-ssl embed` as processes of their own on 1,000 images and on all of them, in turn;
the peak with all may be 1.10 times that with 1,000. And what `docs/explanation/scale.md` needs beside these
(`embed/rates.py`): other rates, in rounds of their own, and bytes of a row.

The input is made here, the same for a seed: JPEGs of 500 x 375 on average, cut from the packaged photographs, and the
bundles, with random weights. It and the outputs lie in a temporary folder: set TMPDIR where that is no disk.

Exits with 1 where a target is missed or too few rounds were quiet.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.compare.throughput import write_pictures
from benchmarks.embed.memory import MOST_RATIO, MemoryRun, measure_memory, memory_ratios
from benchmarks.embed.rates import decode_batches, decoding_rate, inference_rate, measure_rates, pillow, row_bytes
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.random_bundles import export_random
from benchmarks.shared.throughput_rounds import (
    ATTEMPTS,
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
from runtime.data.sources.image_files import FolderSource
from runtime.embed.job import run_embedding
from runtime.embed.request import DEFAULT_BATCH_SIZE, EmbedRequest
from runtime.engines.contract import Engine
from runtime.engines.open_engine import EngineOptions, load_engine
from runtime.support.arrays import Pixels
from runtime.support.cpu import usable_cores

MODEL, PRECISION, ENGINE = "ssl_resnet18", "int8", "openvino"
OTHER_ENGINE = "onnxruntime"
FEW = 1000
TARGET = 0.9
# What the rate of the job is called in the result.
WHOLE = "embed"
# Decoded images that inference runs on again and again: 77 MB.
KEPT = 512
# Of the estimate: seconds that a process takes to start, and of a round of the other rates.
START_S, RATES_S = 4, 15


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        bundle: INT8.
        fp32: The same network's.
        pictures: A folder.
        few: A folder with the first of them.
        images: How many pictures there are.
        scratch: A folder for outputs.
    """

    bundle: Bundle
    fp32: Bundle
    pictures: Path
    few: Path
    images: int
    scratch: Path

    @property
    def source(self) -> FolderSource:
        """The pictures, as a job reads them."""
        return FolderSource(str(self.pictures))

    @property
    def few_images(self) -> int:
        """How many are in `few`."""
        return min(FEW, self.images)


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        engine: What the job's engine executes, in words.
        rounds: Rounds of D, I and P.
        rates: Rates other than these three.
        rows: Bytes of a row, by what is written.
        runs: Memory.
    """

    engine: str
    rounds: list[Round]
    rates: list[Round]
    rows: dict[str, float]
    runs: list[MemoryRun]


def make_subject(scratch: Path, images: int) -> Subject:
    """Return bundles and pictures, made in `scratch` and on the disk."""
    print(f"make two bundles and {images:,} pictures", file=sys.stderr)
    bundle, fp32 = (open_bundle(export_random(MODEL, scratch, precision=name)) for name in (PRECISION, "fp32"))
    pictures, few = scratch / "pictures", scratch / "few"
    write_pictures(pictures, images, bundle.labels())
    for path in sorted(pictures.rglob("*.jpg"), key=lambda path: path.name)[:FEW]:
        target = few / path.relative_to(pictures)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    # Else the kernel writes them back while something is measured.
    os.sync()
    return Subject(bundle, fp32, pictures, few, images, scratch)


def job_rate(subject: Subject) -> float:
    """Return P, the images of a whole job over its seconds."""
    with tempfile.TemporaryDirectory(dir=subject.scratch) as output:
        request = EmbedRequest(subject.bundle.path, (subject.pictures,), Path(output, "out"), engine=ENGINE)
        began = time.perf_counter()
        done = run_embedding(request)
        seconds = time.perf_counter() - began
    assert done.unreadable == 0, "the pictures are made here"
    return done.images / seconds


def measure(subject: Subject, *, native: Path | None, rounds: int) -> Found:
    """Return all that is measured."""
    # As a job opens them: their threads sleep while files are decoded.
    options = EngineOptions(share_cores=True)
    batches = decode_batches(subject.source, pillow(subject.bundle), KEPT)
    with load_engine(subject.bundle, ENGINE, options) as engine:
        say_how_long(subject, engine, batches, rounds=rounds)
        figures = {
            DECODING: lambda: decoding_rate(subject.source, pillow(subject.bundle), workers=usable_cores()),
            INFERENCE: lambda: inference_rate(engine, batches, subject.images),
            WHOLE: lambda: job_rate(subject),
        }
        found = measure_rounds(figures, rounds=rounds, reverse=True)
        executes = f"{engine.name} ({engine.precision})"
    with (
        load_engine(subject.fp32, ENGINE, options) as fp32,
        load_engine(subject.bundle, OTHER_ENGINE, options) as other,
    ):
        rates = measure_rates(
            subject.bundle, subject.pictures, engines=(fp32, other), batches=batches, native=native, rounds=rounds
        )
    inputs = {subject.few_images: subject.few, subject.images: subject.pictures}
    return Found(
        engine=executes,
        rounds=found,
        rates=rates,
        rows=row_bytes(subject.bundle.path, subject.pictures, engine=ENGINE, scratch=subject.scratch),
        runs=measure_memory(subject.bundle.path, inputs, subject.scratch),
    )


def say_how_long(subject: Subject, engine: Engine, batches: Sequence[Pixels], *, rounds: int) -> None:
    """Warm up, and print about how long the measurements will take."""
    inference_rate(engine, batches[:1], 1)
    each = 1 / decoding_rate(subject.source, pillow(subject.bundle), workers=usable_cores(), images=KEPT)
    each += 1 / inference_rate(engine, batches, min(subject.images, KEPT))
    # A round does it twice, apart and together; rows take four times all images, memory twice few and all.
    round_s = 2 * subject.images * each
    rest_s = (6 * subject.images + 2 * subject.few_images) * each + 4 * START_S
    print(
        f"about {(rounds * (round_s + RATES_S) + rest_s) / 60:.0f} minutes where all rounds are quiet, of which a "
        f"round takes {round_s:.0f} s and as many of the other rates {RATES_S} s each; up to {ATTEMPTS} times as many "
        "rounds where others work here",
        file=sys.stderr,
    )


def describe(subject: Subject, found: Found, sizes: Sequence[int]) -> dict[str, object]:
    """Return the result for the JSON; `sizes` are those of the pictures, bytes."""
    middle, rate, share = medians(found.rounds), medians(found.rates), middle_share(found.rounds, WHOLE)
    return {
        "model": MODEL,
        "precision": PRECISION,
        "engine": found.engine,
        "image_size": subject.bundle.manifest.preprocessing.image_size,
        "images": subject.images,
        "mean_jpeg_bytes": round(statistics.mean(sizes)),
        "batch_size": DEFAULT_BATCH_SIZE,
        "workers": usable_cores(),
        "rounds": [{**one.as_json(), "share": one.share(WHOLE)} for one in found.rounds],
        "counted_rounds": len(quiet(found.rounds)),
        "median": {**middle.as_json(), "share": share} if middle else None,
        "share": share,
        "target": TARGET,
        "memory": {
            "runs": [asdict(one) for one in found.runs],
            "ratio": memory_ratios(found.runs),
            "most_ratio": MOST_RATIO,
        },
        "rates": {
            "rounds": [one.as_json() for one in found.rates],
            "counted_rounds": len(quiet(found.rates)),
            "median": rate.as_json() if rate else None,
        },
        "row_bytes": found.rows,
    }


def print_found(found: Found, console: Console) -> None:
    """Print the rounds, memory, the other rates and the bytes of a row."""
    print_shares(found.rounds, console, whole=WHOLE, letter="P", share=middle_share(found.rounds, WHOLE))
    table = Table("images", "seconds", "peak MB", "mean MB, second half")
    for one in found.runs:
        table.add_row(f"{one.images:,}", f"{one.seconds:.1f}", f"{one.peak_mb:.0f}", f"{one.second_half_mb:.0f}")
    ratios = memory_ratios(found.runs)
    table.add_row("ratio", "", f"{ratios['peak_mb']:.3f}", f"{ratios['second_half_mb']:.3f}")
    console.print(table)
    table = Table("what", "figure")
    middle = medians(found.rates)
    for name, rate in middle.rates.items() if middle else ():
        table.add_row(name, f"{rate:,.1f}")
    for name, size in found.rows.items():
        table.add_row(f"bytes of a row, {name}", f"{size:,.0f}")
    console.print(table)


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3, help="quiet rounds wanted (default: %(default)s)")
    parser.add_argument("--images", type=int, default=5000, help="pictures to make (default: %(default)s)")
    parser.add_argument(
        "--native", type=Path, help="the C library, to measure its decoding too (default: not measured)"
    )
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    return parser.parse_args()


def main() -> None:
    """Measure, print tables, write the JSON, and exit with 1 where a target is missed."""
    arguments = parse_arguments()
    environment = describe_environment("onnxruntime", "openvino", "numpy", "pillow", "pyarrow")
    with tempfile.TemporaryDirectory() as temporary:
        subject = make_subject(Path(temporary), arguments.images)
        sizes = [file.stat().st_size for file in subject.pictures.rglob("*.jpg")]
        found = measure(subject, native=arguments.native, rounds=arguments.rounds)
        result = {**environment, **describe(subject, found, sizes)}
    print_found(found, Console())
    write_result(result, arguments.output)
    require_quiet(found.rounds, arguments.rounds)
    require_quiet(found.rates, arguments.rounds)
    share, memory = middle_share(found.rounds, WHOLE), memory_ratios(found.runs)["peak_mb"]
    assert share is not None, "enough rounds were quiet"
    few = f"{subject.images:,} images over that at {subject.few_images:,}"
    print(f"P * (1/D + 1/I) = {share:.3f}, at least {TARGET} is wanted")
    print(f"peak resident memory at {few}: {memory:.3f}, at most {MOST_RATIO} is wanted")
    if share < TARGET or memory > MOST_RATIO:
        sys.exit("a target is missed")


if __name__ == "__main__":
    main()
