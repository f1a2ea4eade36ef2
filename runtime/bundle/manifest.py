"""The manifest of a bundle: the schema of `bundle.json`, which every part of the project reads.

The manifest is the only thing that passes between stages beside the files that it lists. It is
versioned; a reader refuses a newer version. It holds no time stamp and no path of the exporting
machine, so the same checkpoint and tool versions give the same bytes.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from runtime.support.engine_names import Int8Target

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


# Linux's file systems take names of 255 bytes; a bundle's own paths have less than 60 characters.
_LONGEST_NAME, _LONGEST_PATH = 255, 1024


def _inside_bundle(path: str) -> str:
    """Refuse a file name that could leave the bundle: a bundle may come from a stranger."""
    pure = PurePosixPath(path)
    leaves = pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path
    too_long = len(path) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in pure.parts)
    if not path or leaves or str(pure) != path or too_long or not path.isprintable():
        raise ValueError(f"{path[:80]!r} is not a plain relative path inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(_inside_bundle)]

# Bounds that no network of this family comes near; those of the C library (`runtime/cpp/src/manifest.cpp`).
MOST_FEATURES = 1 << 24
_LARGEST_MEAN, _SMALLEST_STD, _LARGEST_STD = 1e6, 1e-6, 1e6
# Ratios of counts are formed as float64, which no whole number of JSON's may be beyond.
_LARGEST_COUNT = 1 << 62
Count = Annotated[int, Field(ge=1, le=_LARGEST_COUNT)]
Mean = Annotated[float, Field(ge=-_LARGEST_MEAN, le=_LARGEST_MEAN)]
Std = Annotated[float, Field(ge=_SMALLEST_STD, le=_LARGEST_STD)]

# Lengths in pixels: of the network's input, and of an image before the crop.
Side = Annotated[int, Field(ge=1, le=8192)]
ResizedSide = Annotated[int, Field(ge=1, le=16384)]
ResizeMode = Literal["short", "cover", "squash"]
Depth16 = Literal["clip", "scale"]
# Pillow's names of what a network sees: one grey channel, three colours, or these with alpha. As many letters as
# channels.
Colour = Literal["L", "RGB", "RGBA"]
# How a network begins; what each is built of is in `runtime/original/stems.py`.
Stem = Literal["timm", "cifar", "solo-learn", "cifar-pool", "cifar-linear"]


class _Part(BaseModel):
    """A frozen part of the manifest; unknown keys are errors, so that a typing slip is not silent.

    NaN and infinity are errors too: JSON has neither, and the C library reads none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Preprocessing(_Part):
    """The contract from an image file to the network's pixels; see `runtime/images/preprocessing.py`.

    Attributes:
        image_size: Height and width of the network's input, pixels; one number where they are equal, else (height,
            width).
        resize_size: What the image is resized to before the crop, pixels: with `short` the length of its short side,
            else (height, width).
        crop_pct: Share of the resized image that the centre crop keeps, 0 < crop_pct <= 1: of the short side, or of the
            axis of which it keeps less.
        interpolation: Filter of the antialiased resize.
        mean: Mean of each channel of pixels scaled to [0, 1], in the order of `colour`.
        std: Standard deviation of each channel of pixels scaled to [0, 1], in the order of `colour`.
        colour: Pillow's mode that a picture is converted to, one letter for each channel of the network: `RGB`; `L`,
            grey, for one channel; `RGBA`, where alpha is the fourth channel.
        resampling: Name of the resize rule, fixed point with the horizontal pass first.
        resize_mode: `short`: the short side becomes `resize_size`, and the aspect ratio is kept. `cover`: the aspect
            ratio is kept, and the image becomes just large enough to cover `resize_size`. `squash`: both sides become
            `resize_size`, and the aspect ratio is lost.
        exif_rotate: Whether an image is turned as its EXIF orientation says; else its pixels are taken as stored.
        depth16: What becomes of 16-bit greyscale: `clip`, values above 255 become 255; `scale`, the high byte of each
            value is taken.
    """

    image_size: Side | tuple[Side, Side]
    resize_size: ResizedSide | tuple[ResizedSide, ResizedSide]
    crop_pct: float = Field(gt=0, le=1)
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[Mean, ...]
    std: tuple[Std, ...]
    colour: Colour = "RGB"
    resampling: Literal["pillow-antialias-horizontal-first"] = "pillow-antialias-horizontal-first"
    resize_mode: ResizeMode = "short"
    exif_rotate: bool = False
    depth16: Depth16 = "clip"

    @property
    def height(self) -> int:
        """Height of the network's input, pixels."""
        return sides(self.image_size)[0]

    @property
    def width(self) -> int:
        """Width of the network's input, pixels."""
        return sides(self.image_size)[1]

    @property
    def pixels_shape(self) -> tuple[int, int, int]:
        """Shape of one image's pixels, (height, width, channels)."""
        return self.height, self.width, len(self.colour)

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        """Refuse a crop that is larger than the resized image, and a resize of another kind than its mode's."""
        if isinstance(self.resize_size, int) != (self.resize_mode == "short"):
            raise ValueError(f"resize_size {self.resize_size} does not fit resize_mode {self.resize_mode}")
        if any(resized < kept for resized, kept in zip(sides(self.resize_size), sides(self.image_size), strict=True)):
            raise ValueError(f"resize_size {self.resize_size} is less than image_size {self.image_size}")
        return self

    @model_validator(mode="after")
    def _every_channel_is_normalised(self) -> Self:
        """Refuse means and deviations of another number than the channels."""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != len(self.colour):
                raise ValueError(f"{name} has {len(numbers)} numbers, expected {len(self.colour)} for {self.colour}")
        return self


def with_choices(preprocessing: Preprocessing, *, exif_rotate: bool, depth16: Depth16 | None) -> Preprocessing:
    """Return a bundle's preprocessing with what a run chooses in its place.

    Args:
        preprocessing: The bundle's.
        exif_rotate: Whether images are turned by their EXIF orientation; False leaves the bundle's choice.
        depth16: What becomes of 16-bit greyscale; None leaves the bundle's choice.
    """
    return preprocessing.model_copy(
        update={
            "exif_rotate": exif_rotate or preprocessing.exif_rotate,
            "depth16": depth16 or preprocessing.depth16,
        }
    )


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a size that is one number where they are equal; pixels."""
    return (size, size) if isinstance(size, int) else size


class Weights(_Part):
    """Where the weights came from.

    Attributes:
        source: `hub`, `file`, or `random` (untrained: good for tests of speed and tooling only).
        name: File name (without folders) or hub identifier; for random weights, `seed N`.
        file_sha256: sha256 of the checkpoint file, or None where there was none (random).
        tensors_sha256: sha256 over all tensors of the state dict, whatever file format held them;
            the rule is `runtime.original.checkpoint.hash_tensors`.
        seed: Seed of random weights, else None.
        key: Key of the dict in the file, as the user named it, or None where it was found.
        prefix: What the names of the network's tensors begin with in the file, as the user named it, or None.
    """

    source: Literal["hub", "file", "random"]
    name: str
    file_sha256: Sha256 | None
    tensors_sha256: Sha256
    seed: int | None = None
    key: str | None = None
    prefix: str | None = None


class Licence(_Part):
    """The licence of the weights, which every artefact made from them carries.

    Attributes:
        spdx: SPDX identifier, or `NOASSERTION` where the user brought weights and stated none.
        notice: One or two sentences for a person.
        url: Where the licence text is, or an empty string.
    """

    spdx: str
    notice: str
    url: str = ""


class Card(_Part):
    """What timm's model card says, and our recomputation of its FLOPs.

    Attributes:
        top1: ImageNet-1k top-1 accuracy as a fraction, or None where the card has none.
        top5: ImageNet-1k top-5 accuracy as a fraction, or None.
        flops: The card's "FLOPs", or None.
        flops_recomputed: The card's rule applied to this network (`runtime/original/flops.py`).
    """

    top1: float | None
    top5: float | None
    flops: Count | None
    flops_recomputed: Count


class Model(_Part):
    """The network.

    Attributes:
        name: The name that the user gave, or its short form.
        architecture: timm architecture, such as `resnet18`.
        timm_tag: Canonical timm name with its weight tag, or None for a checkpoint of the user's.
        classes: Number of classes; 0 for a network without a classifier.
        embedding_dim: Length of the embedding, the pooled features.
        parameters: Number of parameters of the PyTorch original.
        macs: Multiply-accumulates of convolutions and the classifier at `image_size`, one image.
        flops: 2 x macs.
        stem: How the network begins: `timm`, as the architecture has it; `cifar`, a 3x3 convolution of stride 1 without
            a max-pool; `solo-learn`, the same with padding 2; `cifar-pool`, the same as `cifar` with the max-pool;
            `cifar-linear`, the same as `cifar` without an activation before the first stage.
    """

    name: str
    architecture: str
    timm_tag: str | None
    classes: int = Field(ge=0, le=MOST_FEATURES)
    embedding_dim: int = Field(ge=1, le=MOST_FEATURES)
    parameters: Count
    macs: Count
    flops: int = Field(ge=2, le=_LARGEST_COUNT)
    stem: Stem = "timm"


def output_names(classes: int) -> tuple[str, ...]:
    """Return the names of a network's outputs, in their order; without classes there are no logits."""
    return ("logits", "embedding") if classes else ("embedding",)


# Name of the first dimension of a graph that takes any number of images.
BATCH = "batch"


class TensorSpec(_Part):
    """One input or output of the network.

    Attributes:
        name: Name of the tensor in the graph.
        dtype: Element type.
        shape: Dimensions; the first one is the name `batch`, or a number where the graph has a fixed batch; the others
            are numbers.
        layout: Order of the dimensions: N batch, H height, W width, C channels or classes.
        meaning: What the values are, for a person.
    """

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int | str, ...]
    layout: Literal["NHWC", "NCHW", "NC"]
    meaning: str

    @model_validator(mode="after")
    def _shape_fits(self) -> Self:
        """Refuse a shape without a number for every dimension behind the first."""
        numbers = [size for size in self.shape[1:] if isinstance(size, int) and size >= 1]
        if len(self.shape) != len(self.layout) or len(numbers) != len(self.shape) - 1:
            raise ValueError(
                f"the shape {self.shape} in the layout {self.layout}: expected {len(self.layout)} dimensions, numbers "
                "of at least 1 behind the first"
            )
        return self

    @property
    def fixed_batch(self) -> int | None:
        """How many images every run of the graph takes; None where it takes any number."""
        return self.shape[0] if isinstance(self.shape[0], int) else None


class Int8(_Part):
    """How the INT8 part of a graph was calibrated; all of it is in `calibration.json`.

    Attributes:
        target: `tensorrt` (activations in INT8) or `cpu` (in UINT8, which TensorRT does not take: with zero point 0
            where they cannot be negative, and up to 128 elsewhere).
        method: How the clipping thresholds of activations were found.
        techniques: What was kept on top, such as `layer-wise rounding`.
        images: Calibration images, held-out ones included.
        held_out: Images that only judged the result.
        held_out_sqnr_db: SQNR of the outputs against the float network's on those, decibels; all count alike.
        float_layers: Convolutions and classifiers that stay float.
    """

    target: Int8Target
    method: str
    techniques: tuple[str, ...]
    images: int = Field(ge=1)
    held_out: int = Field(ge=1)
    held_out_sqnr_db: float
    float_layers: tuple[str, ...] = ()


class Fp16Sums(_Part):
    """What engines reach that add up in FP16 too, as onnxruntime does on ARM: emulated at export.

    Attributes:
        images: Golden images that were emulated.
        expected_db: The least SQNR of an output that such an engine is expected to have, decibels; None where a sum
            overflows.
        min_sqnr_db: What every output of such an engine must reach to pass `run-ssl verify`, in place of the bundle's
            own tolerance, decibels; None where a sum overflows, so that no such engine can run the bundle.
        losing_most: The layers whose sums lose most, to the SQNR of those sums alone, decibels; None where one
            overflows.
    """

    images: int = Field(ge=1)
    expected_db: float | None
    min_sqnr_db: float | None
    losing_most: dict[str, float | None]


PrecisionName = Literal["fp32", "fp16", "int8", "int8-fp16"]


class Precision(_Part):
    """The precision in the graph.

    Attributes:
        name: `fp32`, `fp16`, or `int8` or `int8-fp16`, where what is not INT8 is FP32 or FP16; the word
            in reports and in the bundle's default name.
        fp32_layers: Layers of an FP16 graph that stay FP32 because their activations overflow
            FP16 on the verification images. Empty for `fp32`.
        overflowing: Tensor name to largest absolute value, for tensors too large for FP16 there.
        weights_flushed: Share of non-zero weights that round to zero in FP16; 0 for `fp32`.
        min_sqnr_db: What every output of an engine must reach against the golden outputs to pass `run-ssl verify`,
            decibels: the least of the outputs' tolerances; the rule is in `exporter/checks/tolerance.py`.
        int8: How INT8 was calibrated; None for `fp32` and `fp16`.
        fp16_sums: What FP16 sums do to an `fp16` graph; None for the others, and where emulating them would take too
            long.
    """

    name: PrecisionName
    fp32_layers: tuple[str, ...] = ()
    overflowing: dict[str, float] = {}
    weights_flushed: float = 0.0
    min_sqnr_db: float
    int8: Int8 | None = None
    fp16_sums: Fp16Sums | None = None

    @model_validator(mode="after")
    def _int8_is_described(self) -> Self:
        """Refuse an INT8 precision that does not say how it was calibrated, and the reverse."""
        if self.name.startswith("int8") != (self.int8 is not None):
            raise ValueError(f"precision {self.name} and int8 {self.int8}: expected both INT8 or neither")
        return self

    @property
    def needs_unfused_qdq(self) -> bool:
        """Whether onnxruntime's integer kernels on a CPU give another function; see `engines/ort_session.py`."""
        return self.name == "int8-fp16"


class StepOutput(_Part):
    """One output of a step's graph against PyTorch's on the golden images.

    Attributes:
        sqnr_db: SQNR, decibels; None where equal.
        required_db: The tolerance that applied, decibels.
    """

    sqnr_db: float | None
    required_db: float


class Step(_Part):
    """One step of the export and how far the outputs of its graph are from PyTorch's.

    Attributes:
        name: `trace`, `fold-batchnorm`, `simplify`, `int8`, `fp16`, `final`.
        nodes: Nodes after the step, by operator.
        sqnr_db: SQNR of the output that is nearest to its tolerance, against PyTorch on the golden images, decibels;
            None where all are equal.
        required_db: Tolerance of that output, decibels.
        outputs: Every output by name.
        summary: What the step did, in one line.
    """

    name: str
    nodes: dict[str, int]
    sqnr_db: float | None
    required_db: float
    outputs: dict[str, StepOutput] = {}
    summary: str


class FileEntry(_Part):
    """A file of the bundle. Every file but the manifest itself is listed.

    Attributes:
        path: Path from the bundle's directory, with `/`.
        sha256: sha256 of the content.
        size_bytes: Size of the file.
    """

    path: RelativePath
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class Manifest(_Part):
    """All of `bundle.json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        model: The network.
        weights: Where the weights came from.
        licence: Licence of the weights.
        card: What timm's model card says; None where there is no card.
        preprocessing: The way from an image file to the network's pixels.
        input: The network's input.
        outputs: The network's outputs: logits and embedding, or the embedding alone without a classifier.
        precision: The precision in the graph.
        opset: ONNX opset of the graph.
        ir_version: ONNX IR version of the file.
        golden: Names of the golden images, in the order of the arrays.
        steps: Steps of the export, each compared with PyTorch.
        tools: Versions of the packages that made the bundle.
        files: Every other file that the export wrote.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    model: Model
    weights: Weights
    licence: Licence
    card: Card | None
    preprocessing: Preprocessing
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    precision: Precision
    opset: int
    ir_version: int
    golden: tuple[str, ...]
    steps: tuple[Step, ...]
    tools: dict[str, str]
    files: tuple[FileEntry, ...]

    @model_validator(mode="after")
    def _outputs_fit(self) -> Self:
        """Refuse outputs that are not those of a network with this many classes."""
        names = tuple(output.name for output in self.outputs)
        expected = output_names(self.model.classes)
        if names != expected:
            raise ValueError(f"outputs {names} of a network with {self.model.classes} classes: expected {expected}")
        return self

    @model_validator(mode="after")
    def _one_batch(self) -> Self:
        """Refuse tensors of different batches, and a batch of no image."""
        batches = [spec.shape[0] for spec in (self.input, *self.outputs)]
        if len(set(batches)) != 1 or not (batches[0] == BATCH or (isinstance(batches[0], int) and batches[0] >= 1)):
            raise ValueError(f"the tensors have the batches {batches}: expected {BATCH}, or one number of at least 1")
        return self

    @model_validator(mode="after")
    def _tensors_fit(self) -> Self:
        """Refuse tensors of another shape or type than the images, the classes and the embedding have."""
        height, width, channels = self.preprocessing.pixels_shape
        kinds = {
            "uint8": ("uint8", "NHWC", (height, width, channels)),
            "float32": ("float32", "NCHW", (channels, height, width)),
        }
        features = {"logits": self.model.classes, "embedding": self.model.embedding_dim}
        expected = [kinds[self.input.dtype], *(("float32", "NC", (features[one.name],)) for one in self.outputs)]
        for spec, kind in zip((self.input, *self.outputs), expected, strict=True):
            if (spec.dtype, spec.layout, spec.shape[1:]) != kind:
                raise ValueError(
                    f"{spec.name} is {spec.dtype} {spec.layout} {spec.shape[1:]}: expected {' '.join(map(str, kind))}"
                )
        return self

    @property
    def fixed_batch(self) -> int | None:
        """How many images every run of the graph takes; None where it takes any number."""
        return self.input.fixed_batch
