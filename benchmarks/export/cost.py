"""Time and memory of whole exports, of this checkout and of another one or a peer, in turn.

    python -m benchmarks.export.cost CASE --against EXPORT_SSL|timmx [--rounds N] [--images N] [--output FILE]

Cases, all with random weights:

int8        export-ssl --model ssl_resnet50 --int8, on as many pictures as --images says
fp16        export-ssl --model ssl_resnet18 --fp16
fp16-large  export-ssl --model ssl_resnext101_32x16d --fp16, 194 million parameters

`--against` is the command `export-ssl` of another checkout, in an environment of its own, or the peer `timmx`, which
exports the network of `fp16` in FP32 (`benchmarks.export.speed` says how and installs it).

Each export is a process of its own; they alternate, in an order that swaps every round. Of seconds, processor seconds
and peak memory the result has every figure, the medians, and the median of the rounds' ratios. On a machine that others
use too, processor seconds vary least. Where both wrote a bundle, the result also says whether their graphs are the
same bytes, and how near each INT8 graph is to its float network on the held-out images.
"""

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.compare.throughput import write_pictures
from benchmarks.export.speed import install_peer
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.run_measured import Usage, run_measured
from benchmarks.shared.throughput_rounds import write_result
from runtime.bundle.layout import MANIFEST_FILE, MODEL_FILE

CASES: Mapping[str, tuple[str, ...]] = {
    "int8": ("--model", "ssl_resnet50", "--int8"),
    "fp16": ("--model", "ssl_resnet18", "--fp16"),
    "fp16-large": ("--model", "ssl_resnext101_32x16d", "--fp16"),
}
PEER = "timmx"
# Its own name for the file is refused where the file exists, in every round but the first.
PEER_ARGUMENTS = ("export", "onnx", "resnet18", "--batch-size", "2", "--dynamic-batch", "--output", "resnet18.onnx")
BUNDLE = "bundle"
OURS, OTHER = "ours", "other"
# Fewer would be refused as too few to calibrate on, or would not show that memory does not grow.
IMAGES = 512
# ImageNet's, of which the pictures get a few as folders.
_LABELS = 1000


def commands(case: str, against: str, pictures: Path, images: int) -> dict[str, list[str]]:
    """Return the two command lines, `ours` and `other`.

    Args:
        case: Name of the case.
        against: The other checkout's `export-ssl`, or `timmx`.
        pictures: Folder of the calibration pictures; only INT8 reads it.
        images: Number of calibration pictures.
    """
    arguments = [*CASES[case], "--weights", "random", "--output", BUNDLE, "--overwrite"]
    if "--int8" in arguments:
        arguments += ["--calib", str(pictures), "--calib-images", str(images)]
    ours = [str(Path(sys.prefix) / "bin" / "export-ssl"), *arguments]
    if against == PEER:
        return {OURS: ours, OTHER: [str(install_peer()), *PEER_ARGUMENTS]}
    return {OURS: ours, OTHER: [str(Path(against).absolute()), *arguments]}


def run_rounds(lines: Mapping[str, Sequence[str]], folder: Path, rounds: int) -> dict[str, list[Usage]]:
    """Return what each command took, round by round; every command runs in a folder of its own name."""
    found: dict[str, list[Usage]] = {name: [] for name in lines}
    for number in range(rounds):
        for name in sorted(lines, reverse=bool(number % 2)):
            inside = folder / name
            inside.mkdir(exist_ok=True)
            usage = run_measured(lines[name], log=folder / f"{name}.log", folder=inside)
            found[name].append(usage)
            print(
                f"round {number + 1}: {name} {usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of processors, "
                f"{usage.peak_mb:.0f} MB",
                file=sys.stderr,
            )
    return found


def summarise(found: Mapping[str, Sequence[Usage]]) -> dict[str, Any]:
    """Return medians of both sides, the median of the rounds' ratios, and every figure.

    Args:
        found: `ours` and `other`, as many rounds of each.
    """
    summary: dict[str, Any] = {"median": {}, "ratio": {}}
    for quantity in (one.name for one in fields(Usage)):
        values = {name: [getattr(usage, quantity) for usage in taken] for name, taken in found.items()}
        ratios = [mine / other for mine, other in zip(values[OURS], values[OTHER], strict=True)]
        summary["median"][quantity] = {name: round(statistics.median(one), 2) for name, one in values.items()}
        summary["ratio"][quantity] = round(statistics.median(ratios), 4)
    summary["rounds"] = {name: [asdict(usage) for usage in taken] for name, taken in found.items()}
    return summary


def compare_bundles(folder: Path) -> dict[str, Any]:
    """Return what the last round's bundles have in common; nothing where one side wrote none.

    Args:
        folder: Has `ours/bundle` and `other/bundle`.
    """
    bundles = {name: folder / name / BUNDLE for name in (OURS, OTHER)}
    if not all((bundle / MODEL_FILE).exists() for bundle in bundles.values()):
        return {}
    digests = {name: hashlib.sha256((bundle / MODEL_FILE).read_bytes()).hexdigest() for name, bundle in bundles.items()}
    found: dict[str, Any] = {"same_graph": digests[OURS] == digests[OTHER]}
    # Read as JSON: an older checkout's manifest may have another schema.
    manifests = {name: json.loads((bundle / MANIFEST_FILE).read_text("utf-8")) for name, bundle in bundles.items()}
    int8 = {name: manifest["precision"].get("int8") for name, manifest in manifests.items()}
    if all(int8.values()):
        found["held_out_sqnr_db"] = {name: one["held_out_sqnr_db"] for name, one in int8.items()}
    return found


def print_result(result: Mapping[str, Any]) -> None:
    """Print a row for each quantity."""
    table = Table("median", OURS, OTHER, "ratio", title=f"{result['case']}, {len(result['rounds'][OURS])} rounds")
    for quantity, one in result["median"].items():
        table.add_row(quantity, f"{one[OURS]:.1f}", f"{one[OTHER]:.1f}", f"{result['ratio'][quantity]:.3f}")
    Console().print(table)


def main() -> None:
    """Measure, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("case", choices=CASES, help="what is exported")
    parser.add_argument("--against", required=True, help="another checkout's export-ssl, or timmx")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--images", type=int, default=IMAGES, help="pictures for INT8 (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    if arguments.against == PEER and arguments.case != "fp16":
        parser.error(f"{PEER} exports the network of the case fp16 alone")
    environment = describe_environment("torch", "timm", "onnx", "onnxruntime")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures = folder / "pictures"
        if arguments.case == "int8":
            write_pictures(pictures, arguments.images, [f"class_{number}" for number in range(_LABELS)])
        lines = commands(arguments.case, arguments.against, pictures, arguments.images)
        found = run_rounds(lines, folder, arguments.rounds)
        result = {
            **environment,
            "case": arguments.case,
            "images": arguments.images if arguments.case == "int8" else None,
            "against": PEER if arguments.against == PEER else "export-ssl of another checkout",
            **summarise(found),
            **compare_bundles(folder),
        }
    print_result(result)
    write_result(result, arguments.output)


if __name__ == "__main__":
    main()
