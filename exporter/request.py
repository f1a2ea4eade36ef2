"""What an export is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from calibration.options import QuantizeOptions
from runtime.bundle.manifest import Depth16, PrecisionName, ResizeMode, Stem
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
        images: Calibration images: a folder, tar shards, Parquet files, or a list.
        count: How many of them to draw.
        seed: Seed of the random draw.
        options: How to quantise.
        eval_data: Labelled images that accuracy is measured on, for `max_drop` and the check for overlap.
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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is stated of the preprocessing; what is None comes from timm's configuration of the model.

    Attributes:
        img_size: Image size, pixels; one number, or (height, width).
        crop_pct: Share of the resized image that the centre crop keeps; not beside `resize_size`.
        interpolation: Resize filter.
        mean: Means of pixels scaled to [0, 1], one for each channel, or one for all.
        std: Standard deviations, likewise.
        resize_mode: How the image is resized before the crop.
        resize_size: Size before the crop, pixels: of the short side, or with `cover` and `squash` of both sides, as
            one number or (height, width).
        exif_rotate: Whether images are turned as their EXIF orientation says.
        depth16: What becomes of 16-bit greyscale.
        stem: How the network begins, where the checkpoint does not tell; None for timm's. Images for another are small:
            their size is to be stated, and nothing is cropped unless `crop_pct` or `resize_size` says so.
    """

    img_size: int | tuple[int, int] | None = None
    crop_pct: float | None = None
    interpolation: Interpolation | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize_mode: ResizeMode | None = None
    resize_size: int | tuple[int, int] | None = None
    exif_rotate: bool = False
    depth16: Depth16 = "clip"
    stem: Stem | None = None


@dataclass(frozen=True)
class ExportRequest(Recipe):
    """What to export and how, beside the preprocessing, which is the fields of `Recipe`.

    Attributes:
        model: Old or new timm name of a ResNet, `local-dir:DIR` or `hf-hub:ORG/NAME`.
        fp16: Whether what is not INT8 is FP16.
        int8: How to calibrate INT8; None for none.
        weights: timm's hub, a file, or random.
        input_kind: `uint8` (NHWC pixels, normalised in the graph) or `float32` (normalised NCHW).
        num_classes: Overrides the number of classes of random weights; 0 leaves the classifier out, whatever the
            weights.
        in_chans: Channels of the images, for random weights; None for a checkpoint's own, or RGB.
        golden: Folder of pictures to check on; None for images held out of the calibration folder, or the packaged
            photographs.
        labels: File of class names, or a folder of class folders; None for timm's ImageNet names.
        licence: SPDX identifier of the weights; None for timm's.
        opset: ONNX opset of the graph, 17 to 22.
        batch: How many images every run of the graph takes; None for any number.
        output: The bundle's directory; None for `./MODEL-PRECISION`.
        overwrite: Whether an existing bundle may be replaced.
    """

    model: str
    fp16: bool = False
    int8: Int8Request | None = None
    weights: WeightsChoice = field(default_factory=WeightsChoice)
    input_kind: InputKind = "uint8"
    num_classes: int | None = None
    in_chans: int | None = None
    golden: Path | None = None
    labels: Path | None = None
    licence: str | None = None
    opset: int = 20
    batch: int | None = None
    output: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse INT8 for TensorRT for RTX with FP32 around it: its convolutions would write FP32.

        Raises:
            UsageError: The target is rtx, and `fp16` is not set; or no image has so many channels.
        """
        if self.in_chans not in (None, 1, 3, 4):
            raise UsageError(f"--in-chans {self.in_chans}: expected 1 (grey), 3 (RGB) or 4 (RGB and alpha)")
        if self.int8 is not None and self.int8.options.target == "rtx" and not self.fp16:
            raise UsageError("INT8 for the target rtx needs FP16 around it, to be fused: pass fp16=True")

    @property
    def precision(self) -> PrecisionName:
        """The word for what is asked for."""
        if self.int8 is None:
            return "fp16" if self.fp16 else "fp32"
        return "int8-fp16" if self.fp16 else "int8"
