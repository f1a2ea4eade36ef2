"""Speed and memory of INT8 calibration: ours, onnxruntime's, and the plain forward pass.

    python -m benchmarks.int8.speed [--rounds N] [--output FILE]

ResNet-50, 224 px, random weights, JPEGs of 500 x 375 on average as in `compare/throughput.py`.

A   images/s of our pass over 32 images against onnxruntime's quantize_static with the entropy method on the same
    32, in turn; of both, what they take with one image (opening, and for the peer's process also imports, weights
    and writing) is taken off. The ratio with nothing taken off either is there too
B   images/s of our pass over decoded batches against the plain FP32 forward pass in onnxruntime over the same
    batches, in turn in one process; opening either session is outside: of ours, what the pass over the first batch
    alone takes is taken off, and said
C   peak resident memory of a process that makes the pass over 64 and over 512 images, decoding included, and of
    one that runs all of `quantize_model` on as many
D   seconds of `quantize_model` by stage: the pass, layer-wise rounding, the candidates of `auto`
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from rich.console import Console
from rich.table import Table

from benchmarks.compare.throughput import write_pictures
from benchmarks.int8.peer_environments import PEER_FOLDER
from benchmarks.int8.peers import PEERS, run_peer
from benchmarks.int8.project_job import StreamingPass, feeds
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.run_measured import run_measured
from calibration.quantize import quantize_model
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, WeightsChoice
from runtime.bundle.bundle import Bundle, open_bundle
from runtime.support.progress import Listener

MODEL = "ssl_resnet50"
PEER = next(peer for peer in PEERS if peer.tool == "ort_static" and peer.recipe == "Entropy" and peer.kind == "signed")
JOB = Path(__file__).with_name("project_job.py")
FEW, MANY = 64, 512
IMAGES_OF_PEER, IMAGES_OF_FORWARD = 32, 64
# What is wanted: see the figures in README.md.
WANTED = {"times_peer": 8.0, "of_forward": 0.5, "peak_mb": 1536.0, "memory_growth": 0.05}


class Stages:
    """Notes when each stage of a calibration began."""

    def __init__(self) -> None:
        self.listener = Listener(on_stage=self._begin)
        self._marks: list[tuple[str, float]] = []

    def _begin(self, name: str, _count: int | None) -> None:
        self._marks.append((name, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Return seconds by stage, up to now; a stage that was entered twice is summed."""
        ends = [began for _, began in self._marks[1:]] + [time.perf_counter()]
        found: dict[str, float] = {}
        for (name, began), end in zip(self._marks, ends, strict=True):
            found[name] = found.get(name, 0.0) + end - began
        return found


def make_input(folder: Path) -> tuple[Bundle, Path, Path]:
    """Return the FP32 bundle, the folder of pictures, and the preprocessing as a file."""
    target, pictures = folder / "bundle", folder / "pictures"
    weights = WeightsChoice(source="random", seed=0)
    export_bundle(ExportRequest(model=MODEL, weights=weights, input_kind="float32", output=target))
    bundle = open_bundle(target)
    write_pictures(pictures, MANY, bundle.labels())
    preprocessing = folder / "preprocessing.json"
    preprocessing.write_text(bundle.manifest.preprocessing.model_dump_json(), encoding="utf-8")
    return bundle, pictures, preprocessing


def clock(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_peer(bundle: Bundle, batches: list[np.ndarray], *, folder: Path, rounds: int) -> dict[str, Any]:
    """Return A: seconds of both on the same images, in turn."""
    images = np.concatenate(batches)[:IMAGES_OF_PEER]
    model = onnx.load(bundle.model_path)
    ours, alone, peer, idle = [], [], [], []
    np.save(folder / "one.npy", images[:1])
    np.save(folder / "all.npy", images)
    output = folder / "peer.onnx"
    split = [images[start : start + 8] for start in range(0, len(images), 8)]
    for number in range(rounds + 1):
        taken = clock(lambda: StreamingPass(model).run(iter(split)))
        one = clock(lambda: StreamingPass(model).run(iter([images[:1]])))
        whole, nothing = (
            run_peer(PEER, bundle.model_path, environments=PEER_FOLDER, calibration=folder / name, output=output)
            for name in ("all.npy", "one.npy")
        )
        if number:
            ours.append(taken)
            alone.append(one)
            peer.append(whole.seconds)
            idle.append(nothing.seconds)
            print(f"A, round {number}: {taken:.2f} s, {PEER.name} {whole.seconds:.2f} s", file=sys.stderr)
    # One image's calibration is inside what was taken off.
    peer_rate = (len(images) - 1) / (statistics.median(peer) - statistics.median(idle))
    rate = (len(images) - 1) / (statistics.median(ours) - statistics.median(alone))
    return {
        "images": len(images),
        "ours_s": ours,
        "ours_one_image_s": alone,
        "peer_s": peer,
        "peer_one_image_s": idle,
        "ours_images_per_s": rate,
        "peer_images_per_s": peer_rate,
        "times_peer": rate / peer_rate,
        "times_peer_nothing_taken_off": statistics.median(peer) / statistics.median(ours),
    }


def measure_forward(bundle: Bundle, batches: list[np.ndarray], *, rounds: int) -> dict[str, Any]:
    """Return B: images/s of the pass and of the forward pass, in turn."""
    model = onnx.load(bundle.model_path)
    streaming = StreamingPass(model)
    images = sum(map(len, batches))
    first = len(batches[0])
    ours, plain, opening = [], [], []
    for number in range(rounds + 1):
        taken = clock(lambda: streaming.run(iter(batches)))
        alone = clock(lambda: streaming.run(iter(batches[:1])))
        forward = time_forward(bundle, batches)
        if number:
            ours.append((images - first) / (taken - alone))
            plain.append(images / forward)
            opening.append(alone - first / ours[-1])
            print(f"B, round {number}: {ours[-1]:.1f} images/s, forward {plain[-1]:.1f}", file=sys.stderr)
    ratio = statistics.median(one / other for one, other in zip(ours, plain, strict=True))
    return {
        "images": images,
        "ours_images_per_s": ours,
        "forward_images_per_s": plain,
        "of_forward": ratio,
        "opening_s": statistics.median(opening),
    }


def time_forward(bundle: Bundle, batches: list[np.ndarray]) -> float:
    """Return the seconds of the plain forward pass, with onnxruntime's defaults; opening the session is outside."""
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    session.run(["logits"], {source: batches[0]})
    return clock(lambda: [session.run(["logits"], {source: batch}) for batch in batches])


def measure_memory(bundle: Bundle, pictures: Path, preprocessing: Path, *, folder: Path) -> dict[str, Any]:
    """Return C: peak resident memory in MB, of processes."""
    output = folder / "int8.onnx"
    start = [sys.executable, str(JOB), *map(str, (bundle.model_path, pictures, preprocessing, output)), "--count"]
    found = {}
    for what, more in (("pass", ["--statistics"]), ("quantize_model", [])):
        for count in (FEW, MANY):
            usage = run_measured([*start, str(count), *more], log=folder / "job.log")
            name = f"{what}, {count} images"
            found[name] = asdict(usage)
            print(f"C, {name}: {usage.peak_mb:.0f} MB, {usage.seconds:.1f} s", file=sys.stderr)
    return found


def measure_stages(bundle: Bundle, pictures: Path) -> dict[str, float]:
    """Return D: seconds by stage."""
    stages = Stages()
    model = onnx.load(bundle.model_path)
    quantize_model(model, pictures, bundle.manifest.preprocessing, count=MANY, listener=stages.listener)
    return stages.seconds()


def print_result(result: dict[str, Any]) -> None:
    """Print what was wanted and what came."""
    table = Table("what", "found", "wanted")
    memory = result["memory"]
    peer, forward = result["peer"], result["forward"]
    table.add_row(f"A: times {PEER.name}", f"{peer['times_peer']:.1f}", f"at least {WANTED['times_peer']}")
    table.add_row("A: nothing taken off", f"{peer['times_peer_nothing_taken_off']:.1f}", "")
    table.add_row("B: of the forward pass", f"{forward['of_forward']:.2f}", f"at least {WANTED['of_forward']}")
    for what in ("pass", "quantize_model"):
        few, many = (memory[f"{what}, {count} images"]["peak_mb"] for count in (FEW, MANY))
        growth = f"{100 * (many / few - 1):.1f} %"
        table.add_row(f"C: MB of {what} at {MANY} images", f"{many:.0f}", f"at most {WANTED['peak_mb']:.0f}")
        table.add_row(f"C: more than at {FEW}", growth, f"within {100 * WANTED['memory_growth']:.0f} %")
    for name, seconds in result["stages_s"].items():
        table.add_row(f"D: {name}", f"{seconds:.1f} s", "")
    Console().print(table)


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("torch", "onnx", "onnxruntime", "numpy", "pillow")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle, pictures, preprocessing = make_input(folder)
        contract = bundle.manifest.preprocessing
        batches = list(feeds(onnx.load(bundle.model_path), pictures, contract, count=IMAGES_OF_FORWARD))
        result = {
            **environment,
            "model": MODEL,
            "peer": measure_peer(bundle, batches, folder=folder, rounds=arguments.rounds),
            "forward": measure_forward(bundle, batches, rounds=arguments.rounds),
            "memory": measure_memory(bundle, pictures, preprocessing, folder=folder),
            "stages_s": measure_stages(bundle, pictures),
            "wanted": WANTED,
        }
    print_result(result)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
