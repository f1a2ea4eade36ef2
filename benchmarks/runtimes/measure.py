"""Which other programs run a bundle's model.onnx, and how near they come: the table of docs/how-to/other-runtimes.md.

    python -m benchmarks.runtimes.measure --environments DIR [--only NAME ...] [--write]

A ResNet-18 with random weights, 64 px and 10 classes is exported in every kind of bundle. Each program runs each file
in a process and an environment of its own below DIR, which is made where it is not there (some GB, from the package
index; onnxruntime-web needs Node.js). Its outputs for the golden images are compared with PyTorch's, which the bundle
has: what counts is the smaller SQNR of logits and embedding, and whether it is what `run-ssl verify` requires. The
result is benchmarks/results/runtimes.json; `--write` fills the page from it. It is no part of continuous integration.
"""

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.documents.scale_costs import fill, table
from benchmarks.export.family import write_pictures
from benchmarks.runtimes.environments import OUTPUTS, RefusedError, make_environment
from benchmarks.runtimes.programs import PROGRAMS, Program
from benchmarks.shared.environment import ROOT, describe_environment
from calibration.options import QuantizeOptions
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from runtime.bundle.bundle import open_bundle
from runtime.images.preprocessing import normalise
from runtime.support.engine_names import Int8Target
from runtime.support.files import atomic_file
from runtime.support.paired_statistics import sqnr_db

RESULT = ROOT / "benchmarks" / "results" / "runtimes.json"
DOCUMENT = ROOT / "docs" / "how-to" / "other-runtimes.md"
# Column of the page, and the options of `export-ssl`.
KINDS: dict[str, tuple[str, ...]] = {
    "FP32": (),
    "FP32, `--input float32`": ("float32",),
    "FP16": ("fp16",),
    "INT8, `tensorrt`": ("tensorrt",),
    "INT8, `cpu`": ("cpu",),
    "INT8 with FP16": ("tensorrt", "fp16"),
}


def export_kind(kind: str, folder: Path) -> Path:
    """Return a bundle of a kind, calibrated where it is INT8 on the pieces of photographs in `folder/pictures`."""
    words = KINDS[kind]
    targets: dict[str, Int8Target] = {"tensorrt": "tensorrt", "cpu": "cpu"}
    target = next((targets[word] for word in words if word in targets), None)
    int8 = None
    if target:
        # Rounding layer by layer takes most of the time, and changes numbers alone, not the graph.
        options = QuantizeOptions(target=target, method="mse", rounding=False)
        int8 = Int8Request(images=folder / "pictures", count=64, options=options)
    request = ExportRequest(
        model="resnet18",
        fp16="fp16" in words,
        int8=int8,
        weights=WeightsChoice(source="random", seed=0),
        input_kind="float32" if "float32" in words else "uint8",
        num_classes=10,
        img_size=64,
        output=folder / f"bundle-{[*KINDS].index(kind)}",
    )
    return export_bundle(request).path


def measure(program: Program, bundle: Path, environments: Path) -> dict[str, Any]:
    """Return the SQNR of each output and whether both are what `run-ssl verify` requires, or the reason for none."""
    opened = open_bundle(bundle)
    golden = opened.golden()
    wanted = {"logits": golden.logits, "embedding": golden.embedding}
    of_bytes = opened.manifest.input.dtype == "uint8"
    pixels = golden.pixels if of_bytes else normalise(golden.pixels, opened.manifest.preprocessing)
    try:
        found = make_environment(environments, program).run(opened.model_path, pixels)
    except RefusedError as error:
        return {"reason": str(error)}
    if any(found[name].shape != np.shape(wanted[name]) for name in OUTPUTS):
        return {"reason": f"outputs of the shapes {', '.join(str(found[name].shape) for name in OUTPUTS)}"}
    decibels = {name: sqnr_db(np.asarray(wanted[name]), found[name].astype(np.float64)) for name in OUTPUTS}
    return {
        "sqnr_db": {name: round(value, 2) if math.isfinite(value) else None for name, value in decibels.items()},
        "passes": min(decibels.values()) >= opened.manifest.precision.min_sqnr_db,
    }


def row_of(program: Program, found: dict[str, dict[str, Any]], reasons: dict[str, int]) -> list[str]:
    """Return a row of the page's table; a reason why not is given by its number."""
    return [f"{program.name} {program.version}", *(_cell(found.get(kind), reasons) for kind in KINDS)]


def _cell(found: dict[str, Any] | None, reasons: dict[str, int]) -> str:
    if found is None:
        return "-"
    if "reason" in found:
        return f"no ({reasons.setdefault(found['reason'], len(reasons) + 1)})"
    finite = [value for value in found["sqnr_db"].values() if value is not None]
    text = f"{min(finite):.0f}" if finite else "no finite number"
    return text if found["passes"] else f"**{text}**"


def tables(result: dict[str, Any]) -> dict[str, str]:
    """Return what fills the page, by the name of its mark."""
    reasons: dict[str, int] = {}
    rows = [row_of(program, result["programs"].get(program.name, {}), reasons) for program in PROGRAMS]
    lines = (
        f"**{program.name}** (`{program.pins[0].replace('@', ' ').replace('==', ' ')}`)\n\n"
        f"```{'js' if program.node else 'python'}\n{program.lines}\n```\n"
        for program in PROGRAMS
    )
    listed = "\n".join(f"{number}. `{reason.replace('`', '')[:200]}`" for reason, number in reasons.items())
    return {"programs": table(("program", *KINDS), rows), "reasons": f"{listed}\n", "lines": "\n".join(lines)}


def main() -> None:
    """Measure what is asked for, and fill the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environments", type=Path, required=True, help="folder of the programs' environments")
    parser.add_argument("--only", nargs="*", default=[], help="names of programs")
    parser.add_argument("--write", action="store_true", help="fill docs/how-to/other-runtimes.md")
    given = parser.parse_args()
    result: dict[str, Any] = {"programs": {}}
    if RESULT.exists():
        result = json.loads(RESULT.read_text(encoding="utf-8"))
    result["environment"] = describe_environment("torch", "onnx")
    with tempfile.TemporaryDirectory(prefix="export-ssl-runtimes-") as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        write_pictures(folder / "pictures")
        bundles = {kind: export_kind(kind, folder) for kind in KINDS}
        for program in PROGRAMS:
            if given.only and program.name not in given.only:
                continue
            found = {kind: measure(program, bundle, given.environments) for kind, bundle in bundles.items()}
            result["programs"][program.name] = {"version": program.version, **found}
            with atomic_file(RESULT) as file:
                file.write(json.dumps(result, indent=1, sort_keys=True).encode() + b"\n")
            print(f"{program.name}: {' | '.join(row_of(program, found, {})[1:])}", flush=True)
    if given.write:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), tables(result)), encoding="utf-8")


if __name__ == "__main__":
    main()
