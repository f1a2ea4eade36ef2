"""What an export is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from calibration.options import QuantizeOptions
from runtime.bundle.manifest import PrecisionName
from runtime.errors import UsageError
from runtime.original.network import InputKind

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class WeightsChoice:
    """Where the weights come from.

    Attributes:
        source: `hub` (timm's), `file`, or `random` (untrained).
        path: The checkpoint of a `file`.
        seed: Seed of `random`.
        key: Key of the dict in the file that holds the network; None to find it.
        prefix: What the names of the network's tensors begin with; None to find it.
    """

    source: Literal["hub", "file", "random"] = "hub"
    path: Path | None = None
    seed: int = 0
    key: str | None = None
    prefix: str | None = None

    @classmethod
    def parse(cls, text: str, *, seed: int, key: str | None = None, prefix: str | None = None) -> "WeightsChoice":
        """Return the choice that `--weights TEXT` means: `hub`, `random`, or a file.

        Raises:
            UsageError: A key or a prefix is named where there is no file to look into.
        """
        if text in ("hub", "random") and (key is not None or prefix is not None):
            named = "--weights-key" if key is not None else "--weights-prefix"
            raise UsageError(f"{named} with --weights {text}: expected --weights FILE; leave it out")
        if text == "hub":
            return cls()
        if text == "random":
            return cls(source="random", seed=seed)
        return cls(source="file", path=Path(text), key=key, prefix=prefix)


@dataclass(frozen=True)
class Int8Request:
    """How INT8 is calibrated.

    Attributes:
        images: Folder of calibration images.
        count: How many of them to draw.
        seed: Seed of the random draw.
        options: How to quantise.
        eval_data: Folder of labelled images that accuracy is measured on, for `max_drop` and the check for overlap.
        max_drop: Largest paired top-1 drop on `eval_data`, a fraction; None for no limit.
        sensitivity: Whether to measure what each layer costs.
        cache: File that keeps the calibration.
    """

    images: Path
    count: int = 512
    seed: int = 0
    options: QuantizeOptions = field(default_factory=QuantizeOptions)
    eval_data: Path | None = None
    max_drop: float | None = None
    sensitivity: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class ExportRequest:
    """What to export and how.

    Attributes:
        model: Old or new timm name of a ResNet, `local-dir:DIR` or `hf-hub:ORG/NAME`.
        fp16: Whether what is not INT8 is FP16.
        int8: How to calibrate INT8; None for none.
        weights: timm's hub, a file, or random.
        input_kind: `uint8` (NHWC pixels, normalised in the graph) or `float32` (normalised NCHW).
        img_size: Overrides timm's image size, pixels.
        crop_pct: Overrides timm's crop share.
        interpolation: Overrides timm's resize filter.
        num_classes: Overrides the number of classes of random weights; 0 leaves the classifier out, whatever the
            weights.
        golden: Folder of pictures to check on; None for the packaged photographs.
        labels: File with one class name per line, or a folder of class folders; None for timm's ImageNet names.
        licence: SPDX identifier of the weights; None for timm's.
        output: The bundle's directory; None for `./MODEL-PRECISION`.
        overwrite: Whether an existing bundle may be replaced.
    """

    model: str
    fp16: bool = False
    int8: Int8Request | None = None
    weights: WeightsChoice = field(default_factory=WeightsChoice)
    input_kind: InputKind = "uint8"
    img_size: int | None = None
    crop_pct: float | None = None
    interpolation: Interpolation | None = None
    num_classes: int | None = None
    golden: Path | None = None
    labels: Path | None = None
    licence: str | None = None
    output: Path | None = None
    overwrite: bool = False

    @property
    def precision(self) -> PrecisionName:
        """The word for what is asked for."""
        if self.int8 is None:
            return "fp16" if self.fp16 else "fp32"
        return "int8-fp16" if self.fp16 else "int8"
