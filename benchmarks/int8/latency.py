"""Latency of INT8 on the CPU: ours against FP32, bf16 and NNCF's network, 224 px.

    python -m benchmarks.int8.latency [--rounds N] [--batch N] [--peers FOLDER] [--output FILE]

ResNet-18 and ResNet-50 with random weights, calibrated on crops of the packaged photographs: latency depends on the
placement of Q/DQ, not on their values. One engine per process, alone, its threads as it chooses; the processes of a
round follow one another, and rounds are repeated, so that a machine that drifts drifts for all. Every process warms
up and then times `RUNS` inferences; the median, p90 and p99 are over all runs of all rounds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from benchmarks.compare.throughput import write_pictures
from benchmarks.int8.peer_environments import PEER_FOLDER, tool_versions
from benchmarks.int8.peers import PEERS, run_peer
from benchmarks.int8.project_job import feeds
from benchmarks.shared.environment import describe_environment
from calibration.options import QuantizeOptions
from calibration.quantize import quantize_model
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, WeightsChoice
from runtime.bundle.bundle import open_bundle

MODELS = ("ssl_resnet18", "ssl_resnet50")
JOB = Path(__file__).with_name("latency_job.py")
NNCF = next(peer for peer in PEERS if peer.tool == "intel_nncf" and peer.recipe == "fast")
IMAGES, RUNS = 64, 50
FP32, BF16, INT8, INT8_CPU, PEER = "OpenVINO f32", "OpenVINO bf16", "OpenVINO INT8", "OpenVINO INT8 cpu", "NNCF's IR"
ORT_FP32, ORT_INT8 = "onnxruntime FP32", "onnxruntime INT8 cpu"


@dataclass(frozen=True)
class Limit:
    """What is wanted of a ratio of medians."""

    what: str
    over: str
    most: dict[str, float]


# For a CPU with AMX, batch 1.
LIMITS = (
    Limit(INT8, FP32, dict.fromkeys(MODELS, 0.2)),
    Limit(INT8, BF16, dict.fromkeys(MODELS, 0.8)),
    Limit(INT8, PEER, dict.fromkeys(MODELS, 1.05)),
    Limit(ORT_INT8, ORT_FP32, {"ssl_resnet18": 0.55, "ssl_resnet50": 0.5}),
)


@dataclass(frozen=True)
class Subject:
    """A file in an engine."""

    engine: str
    file: Path


def make_subjects(model: str, folder: Path, pictures: Path, *, environments: Path) -> dict[str, Subject]:
    """Return what is timed, by name."""
    target = folder / model
    weights = WeightsChoice(source="random", seed=0)
    export_bundle(ExportRequest(model=model, weights=weights, input_kind="float32", output=target))
    bundle = open_bundle(target)
    preprocessing = bundle.manifest.preprocessing
    if not pictures.exists():
        write_pictures(pictures, IMAGES, bundle.labels())
    float_model = onnx.load(bundle.model_path)
    files = {}
    for kind in ("tensorrt", "cpu"):
        options = QuantizeOptions(target=kind, method="max", equalize=False, rounding=False, bias_correction=False)
        quantized = quantize_model(float_model, pictures, preprocessing, count=IMAGES, options=options)
        files[kind] = folder / f"{model}-{kind}.onnx"
        onnx.save(quantized.model, files[kind])
    calibration, ir = folder / f"{model}.npy", folder / f"{model}.xml"
    np.save(calibration, np.concatenate(list(feeds(float_model, pictures, preprocessing, count=IMAGES))))
    run_peer(NNCF, bundle.model_path, environments=environments, calibration=calibration, output=ir)
    return {
        FP32: Subject("openvino:f32", bundle.model_path),
        BF16: Subject("openvino:bf16", bundle.model_path),
        INT8: Subject("openvino:f32", files["tensorrt"]),
        INT8_CPU: Subject("openvino:f32", files["cpu"]),
        PEER: Subject("openvino:f32", ir),
        ORT_FP32: Subject("onnxruntime", bundle.model_path),
        ORT_INT8: Subject("onnxruntime", files["cpu"]),
    }


def time_subject(subject: Subject, *, batch: int) -> dict[str, Any]:
    """Return the seconds of `RUNS` inferences, and the precision."""
    command = [sys.executable, str(JOB), subject.engine, str(subject.file), "--batch", str(batch), "--runs", str(RUNS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    timed: dict[str, Any] = json.loads(done.stdout)
    return timed


def measure(subjects: dict[str, Subject], *, batch: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Return median, p90 and p99 in milliseconds, and the precision, of every subject."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    precisions = {}
    for number in range(rounds):
        for name, subject in subjects.items():
            found = time_subject(subject, batch=batch)
            seconds[name] += found["seconds"]
            precisions[name] = found["precision"]
            middle = 1000 * float(np.median(found["seconds"]))
            print(f"round {number + 1}, batch {batch}: {name} {middle:.2f} ms", file=sys.stderr)
    result = {}
    for name, values in seconds.items():
        middle, p90, p99 = (1000 * float(value) for value in np.percentile(values, (50, 90, 99)))
        figures = {"median_ms": middle, "p90_ms": p90, "p99_ms": p99}
        result[name] = {**figures, "runs": len(values), "precision": precisions[name]}
    return result


def ratios(model: str, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ratios of medians that something is wanted of."""
    result = []
    for limit in LIMITS:
        ratio = found[limit.what]["median_ms"] / found[limit.over]["median_ms"]
        most = limit.most[model]
        result.append({"what": limit.what, "over": limit.over, "ratio": ratio, "most": most, "done": ratio <= most})
    return result


def has_amx() -> bool:
    """Return whether the CPU has AMX for INT8, which the limits are for."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "amx_int8" in cpuinfo.read_text(encoding="utf-8")


def print_result(model: str, batch: int, found: dict[str, dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Print one network's figures."""
    console = Console()
    table = Table("what", "median ms", "p90", "p99", "precision", title=f"{model}, batch {batch}")
    for name, one in found.items():
        figures = (one["median_ms"], one["p90_ms"], one["p99_ms"])
        table.add_row(name, *(f"{figure:.2f}" for figure in figures), one["precision"])
    console.print(table)
    for one in wanted:
        console.print(f"{one['what']} / {one['over']} = {one['ratio']:.2f}, at most {one['most']} is wanted at batch 1")


def main() -> None:
    """Measure, print tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of {RUNS} runs (default: %(default)s)")
    parser.add_argument("--batch", type=int, action="append", help="may be repeated (default: 1 and 8)")
    parser.add_argument("--model", action="append", choices=MODELS, help="default: both")
    parser.add_argument("--peers", type=Path, default=PEER_FOLDER, help="folder of the peers' environments")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("torch", "onnx", "onnxruntime", "openvino", "numpy")
    environment["versions"] |= tool_versions("intel_nncf")
    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for model in arguments.model or MODELS:
            subjects = make_subjects(model, folder, folder / "pictures", environments=arguments.peers.resolve())
            for batch in arguments.batch or (1, 8):
                found = measure(subjects, batch=batch, rounds=arguments.rounds)
                wanted = ratios(model, found)
                measured.append({"model": model, "batch": batch, "engines": found, "ratios": wanted})
                print_result(model, batch, found, wanted)
    print(f"the limits are for a CPU with AMX at batch 1; this one {'has' if has_amx() else 'does NOT have'} it")
    result = {**environment, "amx": has_amx(), "runs_per_round": RUNS, "rounds": arguments.rounds, "measured": measured}
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
