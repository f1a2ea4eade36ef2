"""The manifest of a bundle: the schema of `bundle.json`, which every part of the project reads.

The manifest is the only thing that passes between stages beside the files that it lists. It is
versioned; a reader refuses a newer version. It holds no time stamp and no path of the exporting
machine, so the same checkpoint and tool versions give the same bytes.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

SCHEMA_VERSION: Literal[1] = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _inside_bundle(path: str) -> str:
    """Refuse a file name that could leave the bundle: a bundle may come from a stranger."""
    pure = PurePosixPath(path)
    leaves = pure.is_absolute() or ".." in pure.parts or "\\" in path or ":" in path
    if not path or leaves or str(pure) != path:
        raise ValueError(f"{path!r} is not a plain relative path inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(_inside_bundle)]


class _Part(BaseModel):
    """A frozen part of the manifest; unknown keys are errors, so that a typing slip is not silent."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocessing(_Part):
    """The contract from an image file to the network's pixels; see `runtime/images/preprocessing.py`.

    Attributes:
        image_size: Height and width of the network's input, pixels.
        resize_size: Length of the image's short side after the resize, pixels:
            floor(image_size / crop_pct).
        crop_pct: Share of the resized short side that the centre crop keeps, 0 < crop_pct <= 1.
        interpolation: Filter of the antialiased resize.
        mean: Per-channel mean (R, G, B) of pixels scaled to [0, 1].
        std: Per-channel standard deviation (R, G, B) of pixels scaled to [0, 1].
        colour: Channel order. Always RGB; EXIF orientation is not applied.
        resampling: Name of the resize rule, fixed point with the horizontal pass first.
    """

    image_size: int = Field(ge=1, le=8192)
    resize_size: int = Field(ge=1, le=16384)
    crop_pct: float = Field(gt=0, le=1)
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: Literal["RGB"] = "RGB"
    resampling: Literal["pillow-antialias-horizontal-first"] = "pillow-antialias-horizontal-first"

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        """Refuse a crop that is larger than the resized image."""
        if self.resize_size < self.image_size:
            raise ValueError(f"resize_size {self.resize_size} is less than image_size {self.image_size}")
        return self


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
    flops: int | None
    flops_recomputed: int


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
    """

    name: str
    architecture: str
    timm_tag: str | None
    classes: int = Field(ge=0)
    embedding_dim: int = Field(ge=1)
    parameters: int = Field(ge=1)
    macs: int = Field(ge=1)
    flops: int = Field(ge=2)


def output_names(classes: int) -> tuple[str, ...]:
    """Return the names of a network's outputs, in their order; without classes there are no logits."""
    return ("logits", "embedding") if classes else ("embedding",)


class TensorSpec(_Part):
    """One input or output of the network.

    Attributes:
        name: Name of the tensor in the graph.
        dtype: Element type.
        shape: Dimensions; the first one is the name `batch`, the others are numbers.
        layout: Order of the dimensions: N batch, H height, W width, C channels or classes.
        meaning: What the values are, for a person.
    """

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int | str, ...]
    layout: Literal["NHWC", "NCHW", "NC"]
    meaning: str


class Int8(_Part):
    """How the INT8 part of a graph was calibrated; all of it is in `calibration.json`.

    Attributes:
        target: `tensorrt` (signed activations) or `cpu` (unsigned where they cannot be negative, which
            TensorRT does not take).
        method: How the clipping thresholds of activations were found.
        techniques: What was kept on top, such as `layer-wise rounding`.
        images: Calibration images, held-out ones included.
        held_out: Images that only judged the result.
        held_out_sqnr_db: SQNR against the float network on those, decibels: of the logits, or of the embeddings
            without a classifier.
        float_layers: Convolutions and classifiers that stay float.
    """

    target: Literal["tensorrt", "cpu"]
    method: str
    techniques: tuple[str, ...]
    images: int = Field(ge=1)
    held_out: int = Field(ge=1)
    held_out_sqnr_db: float
    float_layers: tuple[str, ...] = ()


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
        min_sqnr_db: What an engine must reach against the golden outputs to pass `run-ssl verify`,
            decibels; the rule is in `exporter/checks/tolerance.py`.
        int8: How INT8 was calibrated; None for `fp32` and `fp16`.
    """

    name: PrecisionName
    fp32_layers: tuple[str, ...] = ()
    overflowing: dict[str, float] = {}
    weights_flushed: float = 0.0
    min_sqnr_db: float
    int8: Int8 | None = None

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


class Step(_Part):
    """One step of the export, and how far its graph is from PyTorch.

    Attributes:
        name: `trace`, `fold-batchnorm`, `simplify`, `int8`, `fp16`, `final`.
        nodes: Nodes after the step, by operator.
        sqnr_db: SQNR against PyTorch on the golden images, decibels: of the logits, or of the embeddings without a
            classifier; None where equal.
        required_db: The tolerance that applied.
        summary: What the step did, in one line.
    """

    name: str
    nodes: dict[str, int]
    sqnr_db: float | None
    required_db: float
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
