"""What an engine of `run-ssl` costs beyond the library that it calls, at batch 1.

    python -m benchmarks.bench.wrapper_overhead [--rounds N] [--runs N] [--model NAME] [--precision NAME]
        [--output FILE]

`run-ssl bench`'s own measurement (`runtime.bench.job.run_bench`): OpenVINO and onnxruntime as this project's engines,
and raw (the library's call as its documentation has it, same settings), each in a process of its own, in turn, round
after round. Rounds of one index are neighbours in time, so the figures are pairs of their medians:

    ratio       geometric mean of engine / raw, with Student's t interval on the logarithms
    difference  mean of engine - raw in microseconds, with Student's t interval

Inside the engine's timer: `infer`, which checks the pixels' shape and type, and gives logits and embedding by name.
Inside the raw one: `InferRequest.infer` or `InferenceSession.run`. Both have their input in place.

Wanted: at most 2 % or 30 microseconds, whichever is larger. The upper end of the intervals must be below it.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.shared.environment import describe_environment
from benchmarks.shared.random_bundles import export_random
from runtime.bench.figures.ratios import paired_ratio
from runtime.bench.job import BenchRequest, run_bench
from runtime.bench.turns import Effort
from runtime.bundle.results.bench_json import BenchResult, Measured

MODELS = ("ssl_resnet18", "ssl_resnet50")
PRECISIONS = ("fp32", "int8")
ENGINES = {"openvino": "raw-openvino", "onnxruntime": "raw-onnxruntime"}
MOST_SHARE, MOST_US = 0.02, 30.0


@dataclass(frozen=True)
class Overhead:
    """What one engine costs beyond its library.

    Attributes:
        model: The network.
        precision: What the engine executes.
        engine: The engine.
        raw: What it is compared with.
        engine_ms: Median of a call.
        raw_ms: Median of the library's.
        ratio: Engine / raw.
        ratio_ci95: 95 % interval of the ratio.
        difference_us: Engine - raw.
        difference_us_ci95: 95 % interval of the difference.
        most_us: What is accepted: 2 % of the raw call or 30 microseconds.
        done: Whether the upper end of either interval is below that.
        rounds: Pairs.
    """

    model: str
    precision: str
    engine: str
    raw: str
    engine_ms: float
    raw_ms: float
    ratio: float
    ratio_ci95: tuple[float, float]
    difference_us: float
    difference_us_ci95: tuple[float, float]
    most_us: float
    done: bool
    rounds: int


def compare_pair(model: str, engine: Measured, raw: Measured) -> Overhead:
    """Return what an engine costs beyond its library, from rounds in turn."""
    ratio = paired_ratio(engine, raw)
    pairs = zip(engine.rounds_ms, raw.rounds_ms, strict=True)
    differences = np.array([1e3 * float(np.median(ours) - np.median(theirs)) for ours, theirs in pairs])
    middle, low, high = mean_interval(differences)
    most = max(MOST_US, 1e3 * MOST_SHARE * raw.latency.median_ms)
    return Overhead(
        model=model,
        precision=engine.precision,
        engine=engine.engine,
        raw=raw.engine,
        engine_ms=engine.latency.median_ms,
        raw_ms=raw.latency.median_ms,
        ratio=ratio.ratio,
        ratio_ci95=(ratio.ratio_ci95.low, ratio.ratio_ci95.high),
        difference_us=middle,
        difference_us_ci95=(low, high),
        most_us=most,
        done=high <= most or ratio.ratio_ci95.high <= 1 + MOST_SHARE,
        rounds=len(differences),
    )


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval, Student's t."""
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    middle = float(values.mean())
    return middle, middle - half, middle + half


def measure(bundle: Path, *, rounds: int, runs: int) -> BenchResult:
    """Return the engines and the raw libraries on a bundle, in turn."""
    request = BenchRequest(
        bundles=(bundle,),
        engines=tuple(ENGINES),
        peers=tuple(ENGINES.values()),
        effort=Effort(rounds=rounds, runs=runs),
        limits=False,
    )
    return run_bench(request)


def compare_all(model: str, result: BenchResult) -> list[Overhead]:
    """Return every engine of a result beside its library."""
    by_engine = {one.engine: one for one in result.measured}
    return [compare_pair(model, by_engine[engine], by_engine[raw]) for engine, raw in ENGINES.items()]


def print_table(found: Sequence[Overhead], console: Console) -> None:
    """Print one row per engine, network and precision."""
    headings = ("model", "executes", "engine", "ms", "raw ms", "ratio, 95 %", "difference us, 95 %", "most us", "done")
    table = Table(*headings)
    for one in found:
        low, high = one.ratio_ci95
        least, most = one.difference_us_ci95
        table.add_row(
            one.model,
            one.precision,
            one.engine,
            f"{one.engine_ms:.3f}",
            f"{one.raw_ms:.3f}",
            f"{one.ratio:.4f}\n{low:.4f} to {high:.4f}",
            f"{one.difference_us:.1f}\n{least:.1f} to {most:.1f}",
            f"{one.most_us:.0f}",
            "yes" if one.done else "NO",
        )
    console.print(table)


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=30, help="rounds (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=900, help="calls of each in all (default: %(default)s)")
    parser.add_argument("--model", action="append", choices=MODELS, help="may be repeated (default: both)")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="may be repeated (default: both)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("onnxruntime", "openvino", "numpy")
    found: list[Overhead] = []
    noise = {}
    with tempfile.TemporaryDirectory() as temporary:
        for model in arguments.model or MODELS:
            for precision in arguments.precision or PRECISIONS:
                bundle = export_random(model, Path(temporary), precision=precision)
                result = measure(bundle, rounds=arguments.rounds, runs=arguments.runs)
                noise[f"{model} {precision}"] = result.noise.model_dump()
                found += compare_all(model, result)
    print_table(found, Console(width=120))
    wanted = {"most_share": MOST_SHARE, "most_us": MOST_US}
    result_json = {**environment, "runs": arguments.runs, "rounds": arguments.rounds, "wanted": wanted, "noise": noise,
                   "measured": [asdict(one) for one in found]}  # fmt: skip
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result_json, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
