"""What `run-ssl` takes for one image, of this checkout and of another one, in turn.

    python -m benchmarks.compare.first_image --against EXPORT_SSL [--rounds N] [--output FILE]

Nearly all of it is the way to the first image: import, reading and hashing the bundle, compiling. Cases, on an FP32
bundle of ssl_resnet18 with random weights that each checkout exports for itself beforehand:

verify   run-ssl verify, in onnxruntime and OpenVINO
embed    run-ssl embed, onnxruntime, one picture
compare  run-ssl compare, OpenVINO against the original, one picture

`--against` is the command `export-ssl` of another checkout, in an environment of its own; its `run-ssl` stands beside
it. Each command is a process of its own; they alternate, in an order that swaps every round, and the first round is not
counted: the files are in memory then.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.compare.throughput import write_pictures
from benchmarks.export.cost import OTHER, OURS, print_result, run_rounds, summarise
from benchmarks.shared.environment import describe_environment
from benchmarks.shared.run_measured import run_measured
from benchmarks.shared.throughput_rounds import write_result
from runtime.bundle.bundle import open_bundle

BUNDLE, PICTURES = "bundle", "pictures"
EXPORT = ("--model", "ssl_resnet18", "--weights", "random", "--output", BUNDLE)
CASES = {
    "verify": ("verify", BUNDLE, "--engines", "onnxruntime,openvino"),
    "embed": ("embed", BUNDLE, PICTURES, "--output", "embeddings", "--overwrite", "--engine", "onnxruntime"),
    "compare": ("compare", BUNDLE, "--data", PICTURES, "--limit", "1", "--engines", "openvino"),
}


def main() -> None:
    """Measure, print tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--against", type=Path, required=True, help="another checkout's export-ssl")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="where to write the JSON (default: not written)")
    arguments = parser.parse_args()
    programs = {OURS: Path(sys.prefix) / "bin" / "export-ssl", OTHER: arguments.against.absolute()}
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, program in programs.items():
            (folder / name).mkdir()
            run_measured([str(program), *EXPORT], log=folder / f"{name}.log", folder=folder / name)
            write_pictures(folder / name / PICTURES, 1, open_bundle(folder / OURS / BUNDLE).labels())
        for case in arguments.case or CASES:
            lines = {name: [str(program.with_name("run-ssl")), *CASES[case]] for name, program in programs.items()}
            found = run_rounds(lines, folder, 1 + arguments.rounds)
            results.append({"case": case, **summarise({name: taken[1:] for name, taken in found.items()})})
            print_result(results[-1])
    environment = describe_environment("torch", "timm", "onnx", "onnxruntime", "openvino")
    write_result({**environment, "measured": results}, arguments.output)


if __name__ == "__main__":
    main()
