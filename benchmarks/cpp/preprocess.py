"""Preprocessing of one picture in memory: the C++ library, Pillow's own resize and crop, and the Python runtime.

    python -m benchmarks.cpp.preprocess [--rounds N] [--output FILE]

C++:    Preprocessor::run, resize and crop in one, as `rne_preprocess()` calls it
Pillow: image.resize((width, height)).crop(box), the single call that most programs make
Python: runtime.images.preprocessing.preprocess, whose bytes the C++ library gives

One thread each, in turn, so that a machine that drifts drifts for all; a time is the mean of as many runs as fit
50 ms, a warm-up before it. The result is the ratio of the medians over the rounds. Decoding a file is outside the
timer. The library's files are compiled with -O3 for the oldest processor, as CMake's Release does; the instructions
are chosen at run time. Before anything is timed, C++ and Python are compared byte for byte. Pillow 13 swaps the passes
for some sizes, so the share of bytes that its single call has in common with them is recorded.
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.shared.environment import ROOT, describe_environment
from runtime.bundle.manifest import Preprocessing
from runtime.images.preprocessing import crop_offset, preprocess, resized_size

SIZES = ((500, 375), (375, 500), (2000, 1500))
INTERPOLATIONS = ("bilinear", "bicubic")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
RESIZE, CROP = 256, 224
SECONDS_PER_SAMPLE = 0.05
SOURCES = ("coefficients", "preprocess", "resample", "resample_reference", "resample_x86")
# From the program's answer on: status and allocations, then the number of bytes.
ANSWER_HEAD_BYTES = 16


@dataclass(frozen=True)
class Picture:
    """A photograph at the size that is measured.

    Attributes:
        image: RGB.
        interpolation: `bilinear` or `bicubic`.
    """

    image: Image.Image
    interpolation: str

    @property
    def contract(self) -> Preprocessing:
        """The preprocessing of the family's models, with this picture's filter."""
        return Preprocessing.model_validate(
            {
                "image_size": CROP,
                "resize_size": RESIZE,
                "crop_pct": CROP / RESIZE,
                "interpolation": self.interpolation,
                "mean": (0.485, 0.456, 0.406),
                "std": (0.229, 0.224, 0.225),
            }
        )

    def request(self) -> bytes:
        """Return what `preprocess_main` reads for this picture."""
        width, height = self.image.size
        data = self.image.tobytes()
        bicubic = int(self.interpolation == "bicubic")
        return (
            struct.pack("<10IQ", width, height, width * 3, 0, RESIZE, RESIZE, CROP, CROP, bicubic, 0, len(data)) + data
        )

    def by_pillow(self) -> Image.Image:
        """Return the pixels by one resize and a crop."""
        width, height = resized_size(*self.image.size, RESIZE)
        left, top = crop_offset(width, CROP), crop_offset(height, CROP)
        resized = self.image.resize((width, height), FILTERS[self.interpolation])
        return resized.crop((left, top, left + CROP, top + CROP))

    def by_python(self) -> npt.NDArray[np.uint8]:
        """Return the pixels by the Python runtime."""
        return preprocess(self.image, self.contract)


def build_program(folder: Path) -> Path:
    """Return the compiled program; exit in one line where there is no compiler."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        sys.exit("no C++ compiler: neither $CXX nor c++ is a command here; install one")
    cpp, program = ROOT / "runtime/cpp", folder / "preprocess_main"
    files = [str(cpp / "src" / f"{name}.cpp") for name in SOURCES] + [str(cpp / "tests/preprocess_main.cpp")]
    flags = ["-std=c++17", "-O3", "-DNDEBUG", f"-I{cpp / 'include'}", f"-I{cpp / 'src'}"]
    subprocess.run([compiler, *flags, *files, "-o", str(program)], check=True)
    return program


def time_program(program: Path, picture: Picture) -> float:
    """Return the mean microseconds of one run in C++."""
    command = [str(program), "best", "--time"]
    first = subprocess.run([*command, "1"], input=picture.request(), capture_output=True, check=True)
    runs = max(1, int(SECONDS_PER_SAMPLE * 1e9 / float(first.stdout)))
    done = subprocess.run([*command, str(runs)], input=picture.request(), capture_output=True, check=True)
    return float(done.stdout) / 1000


def time_call(call: Callable[[], object]) -> float:
    """Return the mean microseconds of one call."""
    began = time.perf_counter()
    call()
    runs = max(1, int(SECONDS_PER_SAMPLE / (time.perf_counter() - began)))
    began = time.perf_counter()
    for _ in range(runs):
        call()
    return (time.perf_counter() - began) / runs * 1e6


def equal_bytes(program: Path, picture: Picture) -> float:
    """Return the share of bytes that Pillow's single call has in common with C++; exit where Python's differ."""
    done = subprocess.run([str(program), "best"], input=picture.request(), capture_output=True, check=True)
    pixels = np.frombuffer(done.stdout[ANSWER_HEAD_BYTES:], np.uint8).reshape(CROP, CROP, 3)
    if not np.array_equal(pixels, picture.by_python()):
        sys.exit(f"C++ and Python differ on {picture.image.size}, {picture.interpolation}: run the tests")
    return float((pixels == np.asarray(picture.by_pillow())).mean())


def measure(program: Path, picture: Picture, rounds: int) -> dict[str, object]:
    """Return one row of the result."""
    equal = equal_bytes(program, picture)
    samples: dict[str, list[float]] = {"cpp": [], "pillow": [], "python": []}
    for _ in range(rounds):
        samples["cpp"].append(time_program(program, picture))
        samples["pillow"].append(time_call(picture.by_pillow))
        samples["python"].append(time_call(picture.by_python))
    medians = {name: statistics.median(found) for name, found in samples.items()}
    return {
        "width": picture.image.width,
        "height": picture.image.height,
        "interpolation": picture.interpolation,
        "microseconds_median": {name: round(value, 1) for name, value in medians.items()},
        "ratio_to_pillow": round(medians["cpp"] / medians["pillow"], 3),
        "ratio_to_python": round(medians["cpp"] / medians["python"], 3),
        "bytes_equal_to_pillow": round(equal, 4),
        "microseconds": {name: [round(value, 1) for value in found] for name, found in samples.items()},
    }


def main() -> None:
    """Measure and print the JSON, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=10, help="timed rounds (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    environment = describe_environment("pillow", "numpy")
    photograph = Image.open(sorted((ROOT / "exporter/photographs").glob("*.jpg"))[0]).convert("RGB")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        program = build_program(Path(folder))
        for size in SIZES:
            for interpolation in INTERPOLATIONS:
                row = measure(program, Picture(photograph.resize(size), interpolation), arguments.rounds)
                rows.append(row)
                print(f"{size} {interpolation}: {row['ratio_to_pillow']} of Pillow's time", file=sys.stderr)
    result = {**environment, "rounds": arguments.rounds, "threads": 1, "resize": RESIZE, "crop": CROP, "rows": rows}
    print(json.dumps(result, indent=2))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
