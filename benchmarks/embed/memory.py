"""Resident memory of `run-ssl embed` at a few and at many images, each run a process of its own, in turn.

The target is for the peaks. The means over the second halves of the runs are recorded beside them, and differ by more:
the first write of a row group brings in Parquet's code and buffers, which stay. A part writes at `_ROW_GROUP` rows
(`runtime/embed/output/parquet_part.py`) or at its end; a run of fewer images has that step in its last moment only.
"""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEASURE = Path(__file__).parents[1] / "shared" / "measure_process.py"
# Often enough for dozens of readings in the shortest run.
EVERY_S = 0.05
REPEATS = 2
# The peak at many images may be this times that at a few.
MOST_RATIO = 1.10


@dataclass(frozen=True)
class MemoryRun:
    """What one run took.

    Attributes:
        images: How many it was given.
        seconds: Duration of the whole process.
        peak_mb: The most resident memory, as the kernel counts it.
        second_half_mb: The mean of the readings in the second half of the run.
    """

    images: int
    seconds: float
    peak_mb: float
    second_half_mb: float


def measure_memory(bundle: Path, inputs: dict[int, Path], scratch: Path) -> list[MemoryRun]:
    """Return the runs on each input, in turn.

    Args:
        bundle: The bundle.
        inputs: Folders of images, by how many images they hold.
        scratch: A folder for outputs and logs.
    """
    found: list[MemoryRun] = []
    for repeat in range(REPEATS):
        for images, folder in inputs.items():
            found.append(run_once(bundle, folder, images=images, output=scratch / f"memory-{images}-{repeat}"))
            one = found[-1]
            print(
                f"memory, {images} images: peak {one.peak_mb:.0f} MB, second half {one.second_half_mb:.0f} MB",
                file=sys.stderr,
            )
    return found


def run_once(bundle: Path, folder: Path, *, images: int, output: Path) -> MemoryRun:
    """Return what `run-ssl embed` takes for a folder of images.

    Raises:
        RuntimeError: The process failed; the message ends with what it said.
    """
    result = output.with_suffix(".usage.json")
    command = [str(Path(sys.prefix) / "bin" / "run-ssl"), "embed", str(bundle), str(folder), "--output", str(output)]
    measured = [sys.executable, str(MEASURE), "--every", str(EVERY_S), str(result), *command]
    done = subprocess.run(measured, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout[-2000:]}")
    usage = json.loads(result.read_text(encoding="utf-8"))
    readings = usage["resident_mb"]
    return MemoryRun(images, usage["seconds"], usage["peak_mb"], statistics.mean(readings[len(readings) // 2 :]))


def memory_ratios(runs: list[MemoryRun]) -> dict[str, float]:
    """Return memory at the most images over that at the fewest, of the means over the repeats."""
    few, many = min(one.images for one in runs), max(one.images for one in runs)
    return {
        what: statistics.mean(getattr(one, what) for one in runs if one.images == many)
        / statistics.mean(getattr(one, what) for one in runs if one.images == few)
        for what in ("peak_mb", "second_half_mb")
    }
