"""Bundles with random weights for the benchmarks of speed: what the weights are does not matter there."""

from pathlib import Path

from benchmarks.compare.throughput import write_pictures
from calibration.options import QuantizeOptions
from exporter.pipeline import export_bundle
from exporter.request import ExportRequest, Int8Request, WeightsChoice

# Calibration images: as few as there may be, since only the scales depend on them.
IMAGES = 64


def export_random(model: str, folder: Path, *, precision: str, img_size: int = 224) -> Path:
    """Return a bundle in `folder`, named by model and precision.

    Args:
        model: Model name, such as `ssl_resnet18`.
        folder: Where it and the pictures for INT8 are written.
        precision: `fp32`, `fp16` or `int8`.
        img_size: The network's input, pixels.
    """
    int8 = None
    if precision == "int8":
        pictures = folder / "calibration"
        if not pictures.exists():
            write_pictures(pictures, IMAGES, [f"class_{number}" for number in range(1000)])
        options = QuantizeOptions(target="cpu", method="max", equalize=False, rounding=False, bias_correction=False)
        int8 = Int8Request(images=pictures, count=IMAGES, options=options)
    request = ExportRequest(
        model=model,
        fp16=precision == "fp16",
        int8=int8,
        weights=WeightsChoice(source="random", seed=0),
        img_size=img_size,
        output=folder / f"{model}-{precision}",
    )
    return export_bundle(request).path
