"""Median of `run-ssl bench` for OpenVINO beside OpenVINO's own `benchmark_app`, on the same file, in turn.

    python -m benchmarks.bench.agreement [--turns N] [--seconds S] [--model NAME ...] [--output FILE]

A turn is one process of each, in an order that swaps: `run-ssl bench BUNDLE --engines openvino --no-limit`, and
`benchmark_app -hint latency -api sync` on the bundle's model.onnx. Both compile the file with one stream, the FP32
precision hint and the threads that OpenVINO chooses for latency, keep the batch dynamic and call it with one image.
Compared are the processes' medians; the figure is the mean of the turns' log ratios with its 95 % t interval, which
should lie within 5 % of 1.

Inside the timer of `run-ssl bench`: `Engine.infer`, pixels in host memory to logits and embedding in arrays of the
caller's. Inside benchmark_app's: `infer()` of a synchronous request whose input is in place (`-inference_only`).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.shared.benchmark_app import Compared, compare_in_turn, ratio_table
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.random_bundles import export_random

LIMIT = 1.05
MODELS = ("ssl_resnet18", "ssl_resnet50")
PRECISIONS = ("fp32", "int8")
ROUNDS = 2


def time_bench(bundle: Path, *, seconds: float) -> float:
    """Return the median that a process of `run-ssl bench` finds, milliseconds."""
    words = [str(Path(sys.executable).parent / "run-ssl"), "bench", str(bundle), "--engines", "openvino", "--no-limit"]
    words += ["--seconds", str(seconds), "--rounds", str(ROUNDS), "--json", "--output", str(bundle.parent / "now.json")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["measured"][0]["latency"]["median_ms"])


def within(one: Compared) -> bool:
    """Return whether the whole interval is within the limit on either side."""
    low, high = one["ratio_ci95"]
    return low >= 1 / LIMIT and high <= LIMIT


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=12, help="processes of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of each process (default: %(default)s)")
    parser.add_argument("--model", action="append", choices=MODELS, help="may be repeated (default: both)")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="may be repeated (default: both)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("openvino", "numpy")
    measured: dict[str, Compared] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for model in arguments.model or MODELS:
            for precision in arguments.precision or PRECISIONS:
                bundle = export_random(model, Path(temporary), precision=precision)
                measured[f"{model} {precision.upper()}, 224 px"] = compare_in_turn(
                    partial(time_bench, bundle, seconds=arguments.seconds),
                    bundle,
                    turns=arguments.turns,
                    seconds=arguments.seconds,
                )
    Console().print(ratio_table("run-ssl bench", measured))
    for name, one in measured.items():
        print(f"{name}: {'within' if within(one) else 'NOT shown to be within'} {100 * (LIMIT - 1):.0f} %")
    result = {
        **environment,
        "turns": arguments.turns,
        "seconds": arguments.seconds,
        "limit": LIMIT,
        "measured": {name: {**one, "done": within(one)} for name, one in measured.items()},
    }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
