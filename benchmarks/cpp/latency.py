"""Latency of the C library beside OpenVINO's own `benchmark_app`, on the same file, in turn.

    python -m benchmarks.cpp.latency [--turns N] [--seconds S] [--demo FOLDER] [--output FILE]

Two bundles at batch 1: the demo's INT8 ResNet-18 (64 px) and an INT8 ResNet-50 (224 px, random weights: what they are
does not matter here). A turn is one process of each, in an order that swaps; both compile the file with one stream,
the FP32 precision hint and the threads that OpenVINO chooses for latency, and both keep the batch dynamic. Compared are
the processes' medians; the figure is the mean of the turns' log ratios with its 95 % t interval.

Inside the C library's timer: `rne_infer()`, pixels in host memory to logits and embedding in host memory.
Inside benchmark_app's: `infer()` of a synchronous request whose input is in place (`-inference_only`).
"""

import argparse
import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.shared.benchmark_app import Compared, compare_in_turn, ratio_table
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.random_bundles import export_random
from tests.helpers.cpp.build import build_example, build_library

LIMIT = 1.05


def time_library(program: Path, bundle: Path, *, seconds: float) -> float:
    """Return the C library's median in milliseconds."""
    done = subprocess.run([str(program), str(bundle), "--seconds", str(seconds)], check=True, capture_output=True)
    return float(json.loads(done.stdout)["median_ms"])


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=10, help="processes of each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of each process (default: %(default)s)")
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of `make demo` (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("openvino", "numpy")
    program = build_example("latency", build_library())
    measured: dict[str, Compared] = {}
    with tempfile.TemporaryDirectory() as temporary:
        bundles = {
            "digits-int8, 64 px": arguments.demo / "digits-int8",
            "ssl_resnet50 INT8, 224 px": export_random("ssl_resnet50", Path(temporary), precision="int8"),
        }
        for name, bundle in bundles.items():
            measured[name] = compare_in_turn(
                partial(time_library, program, bundle, seconds=arguments.seconds),
                bundle,
                turns=arguments.turns,
                seconds=arguments.seconds,
            )
    Console().print(ratio_table("C library", measured))
    result = {**environment, "turns": arguments.turns, "limit": LIMIT, "measured": measured}
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
