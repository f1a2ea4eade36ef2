"""Every file that a bundle's directory can hold, and what describes it."""

from pathlib import Path

from pydantic import BaseModel

from runtime.bundle.calibration_json import Calibration
from runtime.bundle.layers import LayerList
from runtime.bundle.manifest import Manifest
from runtime.bundle.plan_json import Sidecar
from runtime.bundle.results.bench_json import BenchResult
from runtime.bundle.results.changed_json import Changes
from runtime.bundle.results.compare_json import Comparison
from runtime.bundle.results.neighbours_json import NeighbourCheck
from runtime.bundle.sensitivity_json import LayerSearch

# A schema, or in words the format of somebody else.
DESCRIBED: dict[str, type[BaseModel] | str] = {
    "bundle.json": Manifest,
    "model.onnx": "ONNX",
    "layers.json": LayerList,
    "labels.txt": "a class per line",
    "golden/pixels.npy": "NumPy",
    "golden/logits.npy": "NumPy",
    "golden/embedding.npy": "NumPy",
    "LICENSE-WEIGHTS.txt": "text",
    "calibration.json": Calibration,
    "sensitivity.json": LayerSearch,
    "sensitivity.svg": "SVG",
    "model.plan": "TensorRT's plan",
    "model.plan.json": Sidecar,
    "model.plan.layers.json": "TensorRT's engine inspector",
    "model.plan.rejected.json": "TensorRT's engine inspector",
    "model.rtx.plan": "TensorRT for RTX's plan",
    "model.rtx.plan.json": Sidecar,
    "model.rtx.plan.layers.json": "the engine inspector's form, from the build's log",
    "model.rtx.plan.rejected.json": "the engine inspector's form, from the build's log",
    "results/bench.json": BenchResult,
    "results/compare.json": Comparison,
    "results/changed.json": Changes,
    "results/neighbours.json": NeighbourCheck,
}


def described_files(bundle: Path) -> set[str]:
    """Return the names of a bundle's files; each is in the table and fits its schema."""
    names = {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()}
    for name in names:
        schema = DESCRIBED[name]
        if not isinstance(schema, str):
            schema.model_validate_json((bundle / name).read_bytes())
    return names
