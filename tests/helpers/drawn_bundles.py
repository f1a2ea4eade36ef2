"""Bundles with drawn weights at 64 pixels beside conftest's two: of every precision and graph variant, and larger ones.

Each is made when a test first asks for it, once in a run of the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from calibration.options import QuantizeOptions
from exporter.request import ExportRequest, Int8Request, WeightsChoice
from tests.helpers.made_once import made_once

IMAGE_SIZE = 64
# Rounding layer by layer takes most of an export's time.
QUICK = QuantizeOptions(method="max", rounding=False, bias_correction=False)


@dataclass(frozen=True)
class Variant:
    """A bundle of ssl_resnet18 in one precision, or of a larger network.

    Attributes:
        fp16: Whether what is not INT8 is FP16.
        int8: How it is quantised; None for not at all.
        float32_input: Whether it takes normalised floats, not pixels.
        model: The network; its weights are those of `exported` for ssl_resnet18, else random.
        num_classes: Classes of random weights; None for the network's own.
    """

    fp16: bool = False
    int8: QuantizeOptions | None = None
    float32_input: bool = False
    model: str = "ssl_resnet18"
    num_classes: int | None = None


VARIANTS = {
    "int8": Variant(int8=QUICK),
    "int8-fp16": Variant(fp16=True, int8=QUICK),
    "int8-rtx": Variant(fp16=True, int8=replace(QUICK, target="rtx")),
    "int8-cpu": Variant(int8=replace(QUICK, target="cpu")),
    "int8-classifier-float32-input": Variant(int8=replace(QUICK, classifier=True), float32_input=True),
    "int8-fp16-float-weights": Variant(fp16=True, int8=replace(QUICK, float_weights=True)),
    "ssl_resnet50-fp16": Variant(fp16=True, model="ssl_resnet50"),
    "ssl_resnext50_32x4d-fp16": Variant(fp16=True, model="ssl_resnext50_32x4d"),
    "resnext50_32x4d-int8": Variant(int8=QUICK, model="resnext50_32x4d", num_classes=10),
}


def drawn_bundle(name: str, factory: pytest.TempPathFactory, *, checkpoint: Path, pictures: Callable[[], Path]) -> Path:
    """Return a bundle by its name in `VARIANTS`; nobody may change it.

    Args:
        name: Name of the variant.
        factory: Where it is made.
        checkpoint: Weights of ssl_resnet18.
        pictures: Returns the folder of pictures to calibrate on.
    """
    variant = VARIANTS[name]

    def make(folder: Path) -> None:
        from exporter.pipeline import export_bundle

        drawn = WeightsChoice(source="file", path=checkpoint)
        request = ExportRequest(
            model=variant.model,
            fp16=variant.fp16,
            int8=None if variant.int8 is None else Int8Request(images=pictures(), options=variant.int8),
            weights=drawn if variant.model == "ssl_resnet18" else WeightsChoice(source="random"),
            input_kind="float32" if variant.float32_input else "uint8",
            num_classes=variant.num_classes,
            img_size=IMAGE_SIZE,
            output=folder / "bundle",
        )
        export_bundle(request)

    return made_once(factory, f"drawn-{name}", make) / "bundle"
