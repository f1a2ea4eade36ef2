"""What an export is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from exporter.tracing import InputKind

PrecisionName = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class WeightsChoice:
    """Where the weights come from.

    Attributes:
        source: `hub` (timm's), `file`, or `random` (untrained).
        path: The checkpoint of a `file`.
        seed: Seed of `random`.
    """

    source: Literal["hub", "file", "random"] = "hub"
    path: Path | None = None
    seed: int = 0

    @classmethod
    def parse(cls, text: str, *, seed: int) -> "WeightsChoice":
        """Return the choice that `--weights TEXT` means: `hub`, `random`, or a file."""
        if text == "hub":
            return cls()
        if text == "random":
            return cls(source="random", seed=seed)
        return cls(source="file", path=Path(text))


@dataclass(frozen=True)
class ExportRequest:
    """What to export and how.

    Attributes:
        model: Old or new timm name of a ResNet.
        precision: Precision to write into the graph.
        weights: timm's hub, a file, or random.
        input_kind: `uint8` (NHWC pixels, normalised in the graph) or `float32` (normalised NCHW).
        img_size: Overrides timm's image size, pixels.
        crop_pct: Overrides timm's crop share.
        interpolation: Overrides timm's resize filter.
        num_classes: Overrides the number of classes of random weights.
        golden: Folder of pictures to check on; None for the packaged photographs.
        labels: File with one class name per line; None for timm's ImageNet names.
        licence: SPDX identifier of the weights; None for timm's.
        output: The bundle's directory; None for `./MODEL-PRECISION`.
        overwrite: Whether an existing bundle may be replaced.
    """

    model: str
    precision: PrecisionName = "fp32"
    weights: WeightsChoice = field(default_factory=WeightsChoice)
    input_kind: InputKind = "uint8"
    img_size: int | None = None
    crop_pct: float | None = None
    interpolation: str | None = None
    num_classes: int | None = None
    golden: Path | None = None
    labels: Path | None = None
    licence: str | None = None
    output: Path | None = None
    overwrite: bool = False
