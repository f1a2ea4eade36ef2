"""The other quantisers, each run in a process of its own, in an environment of its own.

The environment holds what the peers add and falls back on this one's packages (torch, onnx, onnxruntime, openvino,
NumPy), so that all quantise and run with the same versions.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.shared.run_measured import Usage, read_usage, run_measured

JOB = Path(__file__).with_name("peer_job.py")
# One for all benchmarks, as `export/speed.py` has one for its peer.
PEER_FOLDER = Path(sys.prefix) / "peers" / "int8"
# `--no-deps`, since nvidia-modelopt asks for cupy and a torch of its own. Beside the two: what they import that
# this environment lacks.
PACKAGES = (
    *("nvidia-modelopt", "onnx_graphsurgeon", "onnxslim", "lief", "nvidia-ml-py"),
    *("nncf", "psutil", "tabulate"),
)
# onnxruntime keeps every activation of every image for these: 512 images need more than 4.7 GB.
MOST_FOR_HISTOGRAMS = 128

Kind = Literal["signed", "unsigned"]


@dataclass(frozen=True)
class Peer:
    """A quantiser with one of its methods.

    Attributes:
        name: What the table calls it.
        job: First argument of `int8/peer_job.py`.
        kind: Whether its activations are signed with no zero point, as TensorRT demands, or not.
        suffix: Suffix of the file that it writes.
        most: The most calibration images that it is given.
    """

    name: str
    job: str
    kind: Kind
    suffix: str = ".onnx"
    most: int = 512


def _onnxruntime(kind: Kind) -> tuple[Peer, ...]:
    types = "S8S8" if kind == "signed" else "U8S8"
    most = {"MinMax": 512, "Entropy": MOST_FOR_HISTOGRAMS, "Percentile": MOST_FOR_HISTOGRAMS}
    return tuple(
        Peer(f"onnxruntime {types} {method}", f"onnxruntime/{method}/{kind}", kind, most=limit)
        for method, limit in most.items()
    )


PEERS = (
    *_onnxruntime("signed"),
    Peer("ModelOpt max", "modelopt/max", "signed"),
    Peer("ModelOpt entropy", "modelopt/entropy", "signed"),
    *_onnxruntime("unsigned"),
    Peer("NNCF", "nncf/fast", "unsigned", suffix=".xml"),
    Peer("NNCF, full bias correction", "nncf/full", "unsigned", suffix=".xml"),
    Peer("NNCF, no bias correction", "nncf/none", "unsigned", suffix=".xml"),
)


def peer_environment(folder: Path) -> Path:
    """Return the Python of the peers' environment, made in `folder` unless one with these packages is there."""
    python = folder / "bin" / "python"
    done, packages = folder / "complete", "\n".join(PACKAGES)
    if not done.exists() or done.read_text(encoding="utf-8") != packages:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        site = next(folder.glob("lib/python*/site-packages"))
        ours = next(Path(sys.prefix).glob("lib/python*/site-packages"))
        # Ours come after its own.
        (site / "shared.pth").write_text(f"{ours}\n", encoding="utf-8")
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES]
        subprocess.run(install, check=True)
        done.write_text(packages, encoding="utf-8")
    return python


def peer_versions(python: Path) -> dict[str, str]:
    """Return the versions of the peers' own packages."""
    code = "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    names = ("nvidia-modelopt", "nncf")
    found = subprocess.run([str(python), "-c", code, *names], check=True, capture_output=True, text=True)
    return dict(zip(names, found.stdout.split(), strict=True))


def run_peer(python: Path, peer: Peer, model: Path, *, calibration: Path, output: Path) -> Usage:
    """Let a peer quantise `model` into `output`, calibrated on the images of a .npy file.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    command = [str(python), str(JOB), peer.job, str(model), str(calibration), str(output)]
    return run_measured(command, log=output.with_suffix(".log"))


def measured_before(output: Path) -> Usage | None:
    """Return what a run that was interrupted later has taken for a file; None where there is none."""
    result = output.with_suffix(".usage.json")
    if not (output.exists() and result.exists()):
        return None
    return read_usage(result)
