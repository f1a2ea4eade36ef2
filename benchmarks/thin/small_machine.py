"""Whether a machine with little memory opens and runs a bundle, and the peak: a process for each engine in a cgroup.

    python -m benchmarks.thin.small_machine [--limit-mb 512] BUNDLE

It needs root, for a group of its own below /sys/fs/cgroup, whose memory the kernel limits: what a process needs beyond
that ends it. Files that were read count too, and are dropped when memory is short. The peak of the process's own
resident memory is printed beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MEASURE = Path(__file__).parents[1] / "shared" / "measure_process.py"
GROUP = "export-ssl-small-machine"
ENGINES = ("onnxruntime", "openvino")
MEGABYTE = 1024**2
# Opens a bundle, runs its golden images one by one, and ends.
PROGRAM = """
import sys
from runtime.bundle.bundle import open_bundle
from runtime.engines.open_engine import load_engine
pixels = open_bundle(sys.argv[1]).golden().pixels
with load_engine(sys.argv[1], sys.argv[2]) as engine:
    for image in pixels:
        engine.infer(image[None])
    print(engine.precision)
"""


def make_group(limit_mb: int) -> Path:
    """Return a new cgroup whose processes may have so much memory, by version 1 or 2 of the kernel's interface."""
    first = Path("/sys/fs/cgroup/memory")
    group = (first if first.is_dir() else Path("/sys/fs/cgroup")) / GROUP
    group.mkdir(exist_ok=True)
    limit = group / ("memory.limit_in_bytes" if first.is_dir() else "memory.max")
    limit.write_text(str(limit_mb * MEGABYTE), encoding="utf-8")
    return group


def measure(bundle: Path, engine: str, group: Path) -> tuple[str, float]:
    """Return what an engine executes, and its process's peak of resident memory in MB.

    Raises:
        RuntimeError: The process failed, or was ended for its memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "usage.json"
        # A shell joins the group before anything large is loaded.
        join = f'echo $$ > {group / "cgroup.procs"} && exec "$@"'
        words = [sys.executable, str(MEASURE), str(result), sys.executable, "-c", PROGRAM, str(bundle), engine]
        done = subprocess.run(["sh", "-c", join, "sh", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{engine} ended with {done.returncode} in {group}: {done.stderr[-500:]}")
        return done.stdout.strip(), json.loads(result.read_text(encoding="utf-8"))["peak_mb"]


def main() -> None:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit-mb", type=int, default=512)
    parser.add_argument("bundle", type=Path)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: a cgroup with a limit needs root")
    group = make_group(arguments.limit_mb)
    try:
        print(f"| engine | executes | peak resident MB, of {arguments.limit_mb} |\n|---|---|---|")
        for engine in ENGINES:
            precision, peak_mb = measure(arguments.bundle, engine, group)
            print(f"| {engine} | {precision} | {peak_mb:.0f} |", flush=True)
    finally:
        group.rmdir()


if __name__ == "__main__":
    main()
