"""How a plan is built: the options of `run-ssl build` and `export-ssl --engine tensorrt`, and their limits."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from runtime.errors import UsageError

HardwareCompatibility = Literal["none", "ampere+", "same-compute-capability"]


class BatchProfile(BaseModel):
    """The batch sizes that a plan takes: TensorRT's optimisation profile.

    Attributes:
        min: Smallest batch of the plan; the runtime fills smaller ones up.
        opt: The batch that kernels are chosen for.
        max: Largest batch of the plan; the runtime splits larger ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: int = Field(default=1, ge=1)
    opt: int = Field(default=8, ge=1)
    max: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        """Refuse a profile whose sizes are not in order."""
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"{self.min}:{self.opt}:{self.max} is not in order, expected MIN <= OPT <= MAX")
        return self

    @classmethod
    def parse(cls, text: str) -> "BatchProfile":
        """Return the profile that `MIN:OPT:MAX` means; one number is all three.

        Raises:
            UsageError: It is neither, or the sizes are not in order.
        """
        parts = text.split(":")
        sizes = [int(part) for part in parts if part.isascii() and part.isdigit()]
        if len(sizes) != len(parts) or len(parts) not in (1, 3):
            raise UsageError(f"--profile {text}: expected MIN:OPT:MAX batch sizes, such as 1:8:32, or one number")
        smallest, best, largest = sizes * 3 if len(sizes) == 1 else sizes
        if not 1 <= smallest <= best <= largest:
            raise UsageError(f"--profile {text}: expected 1 <= MIN <= OPT <= MAX")
        return cls(min=smallest, opt=best, max=largest)

    def __str__(self) -> str:
        """Return `MIN:OPT:MAX`."""
        return f"{self.min}:{self.opt}:{self.max}"


class BuildOptions(BaseModel):
    """How a plan is built. There is no precision here: precision is in the graph.

    Attributes:
        profile: Batch sizes.
        workspace_mib: Scratch memory that a layer may use, MiB; None leaves TensorRT's, all of the GPU's.
        optimization_level: 0 (fastest build) to 5 (fastest plan); TensorRT's default is 3.
        version_compatible: Whether later TensorRT versions may load the plan. It then holds code of the host's, a
            lean runtime, and may be slower.
        hardware_compatibility: Which other GPUs may load the plan; it may be slower for that.
        required_share: Share of the Conv and Gemm layers that promise INT8 or FP16 which must run in it, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: BatchProfile = BatchProfile()
    workspace_mib: int | None = Field(default=None, ge=1)
    optimization_level: int = Field(default=3, ge=0, le=5)
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    required_share: float = Field(default=1.0, ge=0, le=1)


class BuildRequest(BaseModel):
    """What the building process is told.

    Attributes:
        bundle: The bundle's directory.
        plan: Where the plan goes, a temporary name beside its final one.
        options: How to build.
        timing_cache: File of measured kernel times; None for none.
        verbose: Whether everything that TensorRT logs is passed on, not only warnings and what it did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path
    plan: Path
    options: BuildOptions
    timing_cache: Path | None = None
    verbose: bool = False
