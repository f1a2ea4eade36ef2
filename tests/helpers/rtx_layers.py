"""Layers that TensorRT for RTX told of plans that it built, with the bundles' own lists: facts to read plans by.

    python -m tests.helpers.rtx_layers DEMO

makes them again with the version that is installed, from the folder of `make demo` and from random weights: on any
machine, in some minutes. Two builds of a graph differ in the numbers within names that Myelin makes up.
"""

import gzip
import json
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle.layers import Layer, LayerList

FOLDER = Path(__file__).parents[1] / "runtime/plans/layers/rtx"
NAMES = tuple(sorted(file.name.removesuffix(".json.gz") for file in FOLDER.glob("*.json.gz")))
LARGER = ("ssl_resnet50", "ssl_resnext50_32x4d")


@dataclass(frozen=True)
class RtxPlan:
    """A plan that was built.

    Attributes:
        version: TensorRT for RTX's.
        made: What it was built from, in words.
        log: The message of the build's log that lists the layers.
        layers: The bundle's.
    """

    version: str
    made: str
    log: str
    layers: tuple[Layer, ...]


def read(name: str) -> RtxPlan:
    """Return a plan by name, one of `NAMES`."""
    data: dict[str, Any] = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    return RtxPlan(
        version=data["version"],
        made=data["made"],
        log=data["log"],
        layers=LayerList.model_validate(data["bundle"]).layers,
    )


def write(bundle: Path, *, name: str, made: str) -> None:
    """Build the plan of a bundle and keep what was told of it."""
    from runtime.bundle.plan_json import BuildOptions
    from runtime.plans.build_plan import build_plan
    from runtime.plans.build_process import LOGGER

    kept = _Kept()
    LOGGER.addHandler(kept)
    LOGGER.setLevel(logging.DEBUG)
    try:
        built = build_plan(bundle, BuildOptions(engine="tensorrt-rtx"))
    finally:
        LOGGER.removeHandler(kept)
    (log,) = kept.lists
    listed = json.loads((bundle / "layers.json").read_text(encoding="utf-8"))
    data = {"version": built.sidecar.tensorrt, "made": made, "log": log, "bundle": listed}
    FOLDER.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0)
    (FOLDER / f"{name}.json.gz").write_bytes(packed)


class _Kept(logging.Handler):
    """Keeps the lists of layers that a build logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Layers:"):
            self.lists.append(record.getMessage())


def main(demo: Path) -> None:
    """Write every file."""
    from calibration.options import QuantizeOptions
    from exporter.pipeline import export_bundle
    from exporter.request import ExportRequest, Int8Request, WeightsChoice

    # Scales do not change which kernels there are.
    quick = QuantizeOptions(method="max", equalize=False, rounding=False, bias_correction=False)
    int8 = Int8Request(images=demo / "digits/train", count=16, options=quick)
    digits = {
        "model": "resnet18",
        "weights": WeightsChoice(source="file", path=demo / "digits_resnet18.safetensors"),
        "labels": demo / "digits_labels.txt",
        "licence": "CC0-1.0",
        "img_size": 64,
    }
    for precision in ("fp32", "fp16", "int8", "int8-fp16"):
        with tempfile.TemporaryDirectory() as folder:
            request = ExportRequest(
                **digits,  # type: ignore[arg-type]
                fp16=precision.endswith("fp16"),
                int8=int8 if precision.startswith("int8") else None,
                output=Path(folder) / "bundle",
            )
            made = f"the network of `make demo`, 64 pixels, {precision}"
            write(export_bundle(request).path, name=f"digits-{precision}", made=made)
    for model in LARGER:
        for precision in ("fp16", "int8", "int8-fp16"):
            with tempfile.TemporaryDirectory() as folder:
                request = ExportRequest(
                    model=model,
                    weights=WeightsChoice(source="random"),
                    fp16=precision.endswith("fp16"),
                    int8=int8 if precision.startswith("int8") else None,
                    output=Path(folder) / "bundle",
                )
                made = f"{model} with random weights, 224 pixels, {precision}"
                write(export_bundle(request).path, name=f"{model}-{precision}", made=made)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
