"""Peak memory of `run-ssl compare` at a few and at many images, each run a process of its own.

    python -m benchmarks.compare.memory BUNDLE PICTURES [--few N] [--many N] [--output FILE]

BUNDLE is a bundle of small images, and PICTURES a folder of class folders that it knows, such as those of `make demo`.
Of the pictures links are made, under numbers, until there are as many as wanted: what compare keeps for an image, its
labels and its part in the statistics, does not depend on the picture. The engine is OpenVINO, beside the original.
"""

import argparse
import sys
import tempfile
from itertools import cycle
from pathlib import Path

from benchmarks.shared.environment import describe_environment
from benchmarks.shared.run_measured import run_measured
from benchmarks.shared.throughput_rounds import write_result

FEW, MANY = 1000, 50_000


def write_links(pictures: Path, folder: Path, count: int) -> None:
    """Make hard links of the pictures of class folders, as many as asked for, in folders of the same names."""
    files = cycle(sorted(path for path in pictures.glob("*/*") if path.is_file()))
    for number in range(count):
        picture = next(files)
        link = folder / picture.parent.name / f"{number:06}{picture.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(picture)


def main() -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--few", type=int, default=FEW, help="images of the first run (default: %(default)s)")
    parser.add_argument("--many", type=int, default=MANY, help="images of the second run (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    program = Path(sys.prefix) / "bin" / "run-ssl"
    runs = []
    # Beside the pictures: hard links stay on one file system.
    with tempfile.TemporaryDirectory(dir=arguments.pictures.resolve().parent) as temporary:
        for images in (arguments.few, arguments.many):
            folder = Path(temporary) / str(images)
            write_links(arguments.pictures, folder, images)
            words = [
                "compare",
                str(arguments.bundle.resolve()),
                "--data",
                str(folder),
                "--engines",
                "openvino",
                "--json",
            ]
            usage = run_measured([str(program), *words], log=Path(temporary) / f"{images}.log")
            runs.append({"images": images, "seconds": usage.seconds, "peak_mb": usage.peak_mb})
            print(f"{images} images: {usage.peak_mb:.0f} MB at the most, {usage.seconds:.0f} s", file=sys.stderr)
    growth = runs[1]["peak_mb"] / runs[0]["peak_mb"]
    print(f"peak at {arguments.many} images / at {arguments.few}: {growth:.3f}")
    environment = describe_environment("torch", "timm", "openvino")
    write_result({**environment, "runs": runs, "growth": growth}, arguments.output)


if __name__ == "__main__":
    main()
