"""Options of a calibration. Imports nothing: the command line reads its choices and defaults here."""

from dataclasses import dataclass
from typing import Literal

from runtime.support.engine_names import Int8Target

Method = Literal["max", "percentile-99.99", "percentile-99.999", "entropy", "mse"]
MethodChoice = Literal["auto", Method]
Int8Effort = Literal["normal", "high"]


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantise.

    Attributes:
        method: How clipping thresholds of activations are found; `auto` tries all.
        target: `tensorrt` (activations in INT8, which TensorRT demands), `rtx` (also one weight scale for the
            whole tensor, which TensorRT for RTX needs to fuse a convolution; FP16 around it) or `cpu` (in UINT8, what
            onnxruntime's and OpenVINO's CPU kernels are fast with; one bit more where they cannot be negative).
        classifier: Whether the classifier is quantised too.
        keep_float: Names of layers that stay float.
        equalize: Whether to try channel equalisation.
        rounding: Whether to try layer-wise rounding.
        bias_correction: Whether to try bias correction.
        effort: `high` also tries ranges that are learned from gradients (`calibration/search/learn_ranges.py`), which
            takes several times as long.
        float_weights: Store weights as float with Q/DQ behind them, instead of as INT8.
        batch_size: Images per run of the network; memory grows with it.
        rounding_images: Images, of those in the pass, that layer-wise rounding and bias correction look at.
        learning_images: Images, of those in the pass, that ranges are learned from.
        workers: Decoding threads; None for the usable cores.
        threads: Threads of onnxruntime; None leaves its choice.
        skip_unreadable: Leave unreadable images out with a warning; otherwise they are an error.
    """

    method: MethodChoice = "auto"
    target: Int8Target = "tensorrt"
    classifier: bool = False
    keep_float: frozenset[str] = frozenset()
    equalize: bool = True
    rounding: bool = True
    bias_correction: bool = True
    effort: Int8Effort = "normal"
    float_weights: bool = False
    batch_size: int = 4
    rounding_images: int = 128
    learning_images: int = 512
    workers: int | None = None
    threads: int | None = None
    skip_unreadable: bool = True

    @property
    def needs_moments(self) -> bool:
        """Whether what each layer reads must be summed up."""
        return self.rounding or self.bias_correction

    @property
    def learns(self) -> bool:
        """Whether ranges are learned from gradients too."""
        return self.effort == "high"

    @property
    def kept_images(self) -> int:
        """How many images of the pass are kept as pixels, for what looks at them again."""
        return max(self.learning_images if self.learns else 0, self.rounding_images if self.needs_moments else 0)

    def for_fingerprint(self, *, fp16: bool) -> dict[str, str]:
        """Return, in words, the options that decide scales and weights; not those that only decide how fast.

        Args:
            fp16: Whether what is not INT8 will be FP16, which decides scales too.
        """
        # Files that were written before there was a choice have no effort in them.
        effort = {"effort": self.effort} if self.learns else {}
        return effort | {
            "method": self.method,
            "target": self.target,
            "classifier": str(self.classifier),
            "keep_float": " ".join(sorted(self.keep_float)),
            "equalize": str(self.equalize),
            "rounding": str(self.rounding),
            "bias_correction": str(self.bias_correction),
            # The name that the files of schema version 1 have for it.
            "half": str(fp16),
            "rounding_images": str(self.rounding_images),
        }
