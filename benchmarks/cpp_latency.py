"""Latency of the C library beside OpenVINO's own `benchmark_app`, on the same file, in turn.

    python benchmarks/cpp_latency.py [--turns N] [--seconds S] [--demo FOLDER] [--output FILE]

Two bundles at batch 1: the demo's INT8 ResNet-18 (64 px) and an INT8 ResNet-50 (224 px, random weights: what they are
does not matter here). A turn is one process of each, in an order that swaps; both compile the file with one stream,
the FP32 precision hint and the threads that OpenVINO chooses for latency, and both keep the batch dynamic. Compared are
the processes' medians; the figure is the mean of the turns' log ratios with its 95 % t interval.

Inside the C library's timer: `rne_infer()`, pixels in host memory to logits and embedding in host memory.
Inside benchmark_app's: `infer()` of a synchronous request whose input is in place (`-inference_only`).
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from compare_throughput import write_pictures
from environment import describe_environment
from rich.console import Console
from rich.table import Table
from scipy import stats

from calibration.options import QuantizeOptions
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from runtime.bundle import open_bundle
from tests.cpp_build import build_example, build_library

LIMIT = 1.05
IMAGES = 64


def export_resnet50(folder: Path) -> Path:
    """Return an INT8 bundle of a ResNet-50 with random weights at 224 pixels."""
    pictures, target = folder / "pictures", folder / "ssl_resnet50-int8"
    write_pictures(pictures, IMAGES, [f"class_{number}" for number in range(1000)])
    options = QuantizeOptions(method="max", equalize=False, rounding=False, bias_correction=False)
    weights = WeightsChoice(source="random", seed=0)
    int8 = Int8Request(images=pictures, count=IMAGES, options=options)
    return export_bundle(ExportRequest(model="ssl_resnet50", weights=weights, int8=int8, output=target)).path


def time_library(program: Path, bundle: Path, *, seconds: float) -> float:
    """Return the C library's median in milliseconds."""
    done = subprocess.run([str(program), str(bundle), "--seconds", str(seconds)], check=True, capture_output=True)
    return float(json.loads(done.stdout)["median_ms"])


def peer_command(bundle: Path, *, seconds: float) -> list[str]:
    """Return benchmark_app's command line on a bundle's file."""
    size = open_bundle(bundle).manifest.preprocessing.image_size
    words = [str(Path(sys.executable).parent / "benchmark_app"), "-m", str(bundle / "model.onnx"), "-d", "CPU"]
    words += ["-hint", "latency", "-api", "sync", "-infer_precision", "f32", "-inference_only"]
    return [*words, "-data_shape", f"pixels[1,{size},{size},3]", "-t", f"{max(1, round(seconds))}"]


def time_peer(bundle: Path, *, seconds: float) -> float:
    """Return benchmark_app's median in milliseconds."""
    done = subprocess.run(peer_command(bundle, seconds=seconds), check=True, capture_output=True, text=True)
    # Microseconds where the average is below a millisecond, else milliseconds with two decimals.
    found = re.search(r"Median:\s+([\d.]+) (ms|us)", done.stdout)
    # The hint alone chooses streams and threads: benchmark_app does not take both.
    if found is None or "NUM_STREAMS: 1\n" not in done.stdout:
        sys.exit(f"benchmark_app printed no median, or ran another number of streams:\n{done.stdout[-2000:]}")
    return float(found[1]) / (1000 if found[2] == "us" else 1)


def measure(program: Path, bundle: Path, *, turns: int, seconds: float) -> dict:
    """Return the medians of every turn and the ratio of ours to the peer's."""
    ours, peers = [], []
    for turn in range(turns):
        pair = [lambda: ours.append(time_library(program, bundle, seconds=seconds)),
                lambda: peers.append(time_peer(bundle, seconds=seconds))]  # fmt: skip
        for one in pair if turn % 2 else reversed(pair):
            one()
        print(f"turn {turn + 1}: {ours[-1]:.3f} ms, benchmark_app {peers[-1]:.3f} ms", file=sys.stderr)
    logs = np.log(np.array(ours) / np.array(peers))
    half = stats.t.ppf(0.975, turns - 1) * logs.std(ddof=1) / np.sqrt(turns)
    low, middle, high = (float(np.exp(value)) for value in (logs.mean() - half, logs.mean(), logs.mean() + half))
    return {
        "ours_ms": ours,
        "benchmark_app_ms": peers,
        "ratio": middle,
        "ratio_ci95": [low, high],
        "command": " ".join(["benchmark_app", *peer_command(bundle, seconds=seconds)[1:]]),
    }


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
    measured = {}
    with tempfile.TemporaryDirectory() as temporary:
        bundles = {
            "digits-int8, 64 px": arguments.demo / "digits-int8",
            "ssl_resnet50 INT8, 224 px": export_resnet50(Path(temporary)),
        }
        for name, bundle in bundles.items():
            measured[name] = measure(program, bundle, turns=arguments.turns, seconds=arguments.seconds)
    table = Table("batch 1", "C library, ms", "benchmark_app, ms", "ratio", "95 %")
    for name, one in measured.items():
        medians = (f"{np.median(one[key]):.3f}" for key in ("ours_ms", "benchmark_app_ms"))
        low, high = one["ratio_ci95"]
        table.add_row(name, *medians, f"{one['ratio']:.3f}", f"{low:.3f} to {high:.3f}")
    Console().print(table)
    result = {**environment, "turns": arguments.turns, "limit": LIMIT, "measured": measured}
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
