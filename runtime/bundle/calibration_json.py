"""What a calibration measured and decided: the schema of `calibration.json`.

For people and tools: scales, ranges, methods, what each technique gave, and the fingerprint of what it was made from.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.bundle.manifest import Preprocessing
from runtime.support.engine_names import Int8Target


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fingerprint(_Part):
    """Everything that decides the scales.

    Attributes:
        graph_sha256: Hash of the float graph's nodes, attributes and shapes, without weights.
        weights_sha256: Hash of all constants.
        images: How many images.
        images_sha256: Hash of the images' names and the sha256 of each file, in order.
        preprocessing: Preprocessing from image file to pixels.
        options: How it was quantised, option by option.
        versions: Versions of the packages that the figures depend on.
    """

    graph_sha256: str
    weights_sha256: str
    images: int
    images_sha256: str
    preprocessing: Preprocessing
    options: dict[str, str]
    versions: dict[str, str]


class Activation(_Part):
    """A tensor with a Q/DQ pair.

    Attributes:
        name: The tensor, in the graph.
        scale: real = integer * scale.
        unsigned: Whether all 256 levels stand for zero and above. For the target `cpu` all activations are UINT8, with
            the zero point 0 where this holds; for the others all are INT8 with zero point 0, and where this holds the
            graph's tensor is shifted: real = (integer + 128) * scale.
        zero_point: The integer that stands for zero with the target `cpu`: real = (integer - zero point) * scale. It is
            less than 128 where not all that is below zero matters. None for the other targets, and in files that were
            written before it could be anything but 0 and 128.
        clip: Value above which values are clipped; magnitude, where zero is in the middle.
        low: Smallest value on the calibration images, after equalisation.
        high: Largest value, likewise.
        amax_before: Largest magnitude before equalisation.
    """

    name: str
    scale: float = Field(gt=0)
    unsigned: bool
    zero_point: int | None = Field(default=None, ge=0, le=128)
    clip: float
    low: float
    high: float
    amax_before: float


class Tried(_Part):
    """Something that was tried.

    Attributes:
        name: Name of the method or technique.
        sqnr_db: SQNR of the outputs on the held-out images with it, decibels; all outputs count alike.
        kept: Whether it was kept.
        gain_ci95_db: 95 % interval of its SQNR less that of what it was compared with, decibels: a technique with the
            graph before it, a candidate with the one that was kept. None where there was nothing to compare with, and
            in files that were written before it was measured.
        images: How many of the held-out images it was judged on, where that was not all of them: on the first ones it
            was surely worse than what it was compared with, or than layer-wise rounding after it.
    """

    name: str
    sqnr_db: float
    kept: bool
    gain_ci95_db: tuple[float, float] | None = None
    images: int | None = None

    @property
    def label(self) -> str:
        """The name, with the number of images where that was not all of them."""
        return self.name if self.images is None else f"{self.name} ({self.images} images)"


class Convergence(_Part):
    """How far the scales from one half of the images are from those of the other.

    Attributes:
        median: Median over the tensors of |a - b| / max(a, b), a fraction.
        worst: The largest of them.
        worst_tensor: Tensor whose scales differ most.
    """

    median: float
    worst: float
    worst_tensor: str


class _Origin(_Part):
    """What the file begins with: what the calibration was made from.

    Attributes:
        schema_version: Raised when a meaning changes.
    """

    schema_version: Literal[1] = 1
    fingerprint: Fingerprint


class CalibrationFacts(_Part):
    """What was measured and decided; all that a report shows, whatever the fingerprint was when it was made.

    Attributes:
        target: `tensorrt` or `cpu`.
        method: How clipping thresholds were found.
        candidates: Every method, with float weights.
        techniques: What came on top, in order, on the whole INT8 graph.
        activations: Tensors with a pair, in graph order.
        layers: Layers with INT8 weights.
        float_layers: Convolutions and classifiers that stay float.
        images: Images used, held-out ones included.
        held_out: Images that only judged.
        held_out_sqnr_db: SQNR of the result's outputs on those, decibels.
        convergence: Whether more images would still move the scales.
        warnings: What was wrong with the images, as far as only decoding them shows it.
    """

    target: Int8Target
    method: str
    candidates: tuple[Tried, ...]
    techniques: tuple[Tried, ...]
    activations: tuple[Activation, ...]
    layers: tuple[str, ...]
    float_layers: tuple[str, ...]
    images: int
    held_out: int
    held_out_sqnr_db: float
    convergence: Convergence
    warnings: tuple[str, ...]


# Pydantic takes the fields of the last base first, and so does the file.
class Calibration(CalibrationFacts, _Origin):
    """All of calibration.json.

    Attributes:
        fingerprint: What it was made from.
    """

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
