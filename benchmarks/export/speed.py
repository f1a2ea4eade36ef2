"""Export speed and memory, ours and the closest peer's, in turn.

    python -m benchmarks.export.speed [--rounds N] [--output FILE]

Ours:  export-ssl --model ssl_resnet18 --fp16 --weights random
Peer:  timmx export onnx resnet18 --batch-size 2 --dynamic-batch

Whole processes, wall time and peak resident memory from the kernel (`wait4`). They alternate, one
warm-up round first, so that a machine that drifts drifts for both; the ratio of the medians is the
result. What each does in that time differs: the peer writes an FP32 file and compares it once with
PyTorch; ours also folds, simplifies, converts to FP16, verifies every step, counts and writes a manifest.

timmx is installed once, into an environment of its own that shares this one's torch and timm.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared.environment import describe_environment

PEER_FOLDER = Path(sys.prefix) / "peers" / "timmx"
PEER_PACKAGES = ("timmx", "onnxslim")


def install_peer() -> Path:
    """Return the timmx command, installing it beside this environment's packages if need be."""
    command = PEER_FOLDER / "bin" / "timmx"
    if not (PEER_FOLDER / "bin" / "onnxslim").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEER_FOLDER)], check=True)
        site = next(PEER_FOLDER.glob("lib/python*/site-packages"))
        ours = next(Path(sys.prefix).glob("lib/python*/site-packages"))
        # Ours come after its own, so that torch and timm are the same files for both.
        (site / "shared.pth").write_text(f"{ours}\n", encoding="utf-8")
        subprocess.run([str(PEER_FOLDER / "bin" / "pip"), "install", "--quiet", *PEER_PACKAGES], check=True)
    return command


def run(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command and return its wall time in seconds and its peak resident memory in MB."""
    began = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _pid, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'log').read_text()}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("torch", "timm", "onnx", "onnxruntime")
    ours = [str(Path(sys.prefix) / "bin" / "export-ssl")]
    commands = {
        "export-ssl": [
            *ours,
            "--model",
            "ssl_resnet18",
            "--fp16",
            "--weights",
            "random",
            "--output",
            "ours",
            "--overwrite",
        ],
        "timmx": [str(install_peer()), "export", "onnx", "resnet18", "--batch-size", "2", "--dynamic-batch"],
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(arguments.rounds + 1):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                sample = run(command, Path(folder))
            if number:
                measured[name].append(sample)
                print(f"round {number}: {name} {sample[0]:.2f} s, {sample[1]:.0f} MB", file=sys.stderr)
    result = {
        **environment,
        "rounds": arguments.rounds,
        "commands": {name: " ".join(Path(part).name for part in command) for name, command in commands.items()},
        "seconds_median": {name: round(statistics.median(s for s, _ in found), 3) for name, found in measured.items()},
        "seconds": {name: [round(s, 3) for s, _ in found] for name, found in measured.items()},
        "peak_mb": {name: round(max(mb for _, mb in found)) for name, found in measured.items()},
    }
    medians = {name: statistics.median(seconds for seconds, _ in found) for name, found in measured.items()}
    result["ratio"] = round(medians["export-ssl"] / medians["timmx"], 3)
    print(json.dumps(result, indent=2))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
