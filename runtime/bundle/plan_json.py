"""What a plan is: the schema of `model.plan.json` and `model.rtx.plan.json`, which stand beside the untouched plans.

A plan states the version that built it and next to nothing else: not the GPU, the network, the licence or the
precision. All of it is here, and is compared before the plan is loaded (`runtime/engines/trt/preflight.py`).
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from runtime.bundle.layout import PLANS
from runtime.bundle.manifest import Licence, PrecisionName, Sha256
from runtime.errors import BundleError, UsageError
from runtime.support.engine_names import PlanEngine
from runtime.support.json_file import read_versioned

SIDECAR_VERSION: Literal[1] = 1

HardwareCompatibility = Literal["none", "ampere+", "same-compute-capability"]
Promise = Literal["int8", "fp16", "fp32"]
Datatype = Literal[
    "fp32", "fp16", "bf16", "fp8", "fp4", "int8", "int4", "uint8", "int32", "int64", "bool", "unknown"
]  # fmt: skip


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
            UsageError: The text is neither, or the sizes are not in order.
        """
        parts = text.split(":")
        sizes = [int(part) for part in parts if part.isascii() and part.isdigit()]
        if len(sizes) != len(parts) or len(parts) not in (1, 3):
            raise UsageError(f"--profile {text}: expected MIN:OPT:MAX batch sizes, such as 1:8:32, or one number")
        smallest, best, largest = sizes * 3 if len(sizes) == 1 else sizes
        if not 1 <= smallest <= best <= largest:
            raise UsageError(f"--profile {text}: expected 1 <= MIN <= OPT <= MAX")
        return cls(min=smallest, opt=best, max=largest)

    def of_graph(self, fixed_batch: int | None) -> "BatchProfile":
        """Return the profile that a graph can have: this one, or the one batch of a graph whose batch is fixed.

        Args:
            fixed_batch: How many images every run of the graph takes; None for any number.

        Raises:
            UsageError: The batch is fixed, and this is neither the default nor that batch.
        """
        if fixed_batch is None:
            return self
        own = BatchProfile(min=fixed_batch, opt=fixed_batch, max=fixed_batch)
        if self not in (own, BatchProfile()):
            raise UsageError(
                f"--profile {self}, but the batch of the graph is fixed at {fixed_batch}: leave --profile out, or "
                "export it without --batch"
            )
        return own

    def __str__(self) -> str:
        """Return `MIN:OPT:MAX`."""
        return f"{self.min}:{self.opt}:{self.max}"


class BuildOptions(BaseModel):
    """How a plan is built. There is no precision here: precision is in the graph.

    Attributes:
        engine: The library that the plan is for.
        profile: Batch sizes.
        workspace_mib: Scratch memory that a layer may use, MiB; None leaves TensorRT's, all of the GPU's.
        optimization_level: 0 (fastest build) to 5 (fastest plan); TensorRT's default is 3.
        version_compatible: Whether later TensorRT versions may load the plan. It then holds code of the host's, a
            lean runtime, and may be slower.
        hardware_compatibility: Which other GPUs may load the plan; it may be slower for that.
        compute_capabilities: Compute capabilities of the GPUs that a plan of TensorRT for RTX is for, such as `8.6`;
            empty leaves the library's own choice, which is Ampere and later.
        required_share: Share of the Conv and Gemm layers that promise INT8 or FP16 which must run in it, 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: PlanEngine = "tensorrt"
    profile: BatchProfile = BatchProfile()
    workspace_mib: int | None = Field(default=None, ge=1)
    optimization_level: int = Field(default=3, ge=0, le=5)
    version_compatible: bool = False
    hardware_compatibility: HardwareCompatibility = "none"
    compute_capabilities: tuple[str, ...] = ()
    required_share: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _has_a_meaning(self) -> Self:
        """Refuse what the engine has no use for; the command line says more (`runtime/engines/trt/library.py`)."""
        if self.engine == "tensorrt" and self.compute_capabilities:
            raise ValueError("tensorrt builds for the GPU of the machine, expected no compute_capabilities")
        own = (self.optimization_level, self.version_compatible, self.hardware_compatibility)
        if self.engine == "tensorrt-rtx" and own != (3, False, "none"):
            raise ValueError(
                "tensorrt-rtx has no optimization_level, version_compatible or hardware_compatibility: leave them out"
            )
        return self


class LayerVerdict(BaseModel):
    """One convolution or matrix product of the bundle, and what became of it.

    Attributes:
        name: ONNX node name, as in layers.json.
        operator: ONNX operator.
        macs: Multiply-accumulates for one image.
        promised: Element type that the bundle promises.
        ran: Element type that the plan computes it in; `unknown` where the plan does not tell.
        engine_layer: The plan's layer that holds it; empty if none names it.
        kind: The inspector's type of that layer.
        reason: Why the promise is not kept; empty when it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    operator: str
    macs: int = Field(ge=0)
    promised: Promise
    ran: Datatype
    engine_layer: str
    kind: str
    reason: str


class Certificate(BaseModel):
    """What a plan made of the bundle's promises.

    Attributes:
        required_share: Share of the promised layers that must keep their promise, 0 to 1.
        kept: Layers promised INT8 or FP16 that ran in it.
        promised: Layers promised INT8 or FP16.
        macs_share: Share of the multiply-accumulates of the promised layers that kept their promise, 0 to 1.
        verdicts: One per convolution and matrix product, in the bundle's order; FP32 ones are not counted.
        formats_known: Whether the inspector names the tensors' datatypes; it does not for every plan with a
            dynamic batch, and then `fp32_islands` and `crossings` are empty because nobody can tell.
        reformats: Layers that copy a tensor to another layout or datatype.
        unfused_qdq: Layers that only quantise or dequantise.
        fp32_islands: Layers that compute in FP32 though INT8 or FP16 is promised, as `name (kind)`.
        crossings: INT8 convolutions that read or write floats.
        layer_times_ms: Median time per layer of the plan, milliseconds; empty when not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    required_share: float = Field(ge=0, le=1)
    kept: int = Field(ge=0)
    promised: int = Field(ge=0)
    macs_share: float = Field(ge=0, le=1)
    verdicts: tuple[LayerVerdict, ...]
    formats_known: bool = True
    reformats: tuple[str, ...]
    unfused_qdq: tuple[str, ...]
    fp32_islands: tuple[str, ...]
    crossings: tuple[str, ...]
    layer_times_ms: dict[str, float] = {}

    @property
    def share(self) -> float:
        """Share of the promised layers that kept their promise; 1 where nothing is promised."""
        return self.kept / self.promised if self.promised else 1.0

    @property
    def passed(self) -> bool:
        """Whether as many layers kept their promise as are required."""
        return self.share >= self.required_share


class GoldenCheck(BaseModel):
    """The plan on the golden images, against PyTorch's outputs.

    Attributes:
        logits_db: Logits SQNR, decibels; None where equal, and without a classifier.
        embedding_db: Embedding SQNR, decibels; None where equal.
        required_db: The manifest's tolerance.
        same_top1: Images with PyTorch's top-1 class; None without a classifier.
        images: Golden images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    logits_db: float | None
    embedding_db: float | None
    required_db: float
    same_top1: int | None
    images: int


class PlanFacts(BaseModel):
    """What the building process knows of the plan that it made.

    Attributes:
        tensorrt: Version that built it, such as `10.16.1.11`, or of TensorRT for RTX `1.7.1.116`.
        cuda_runtime: CUDA runtime of cuda-python, such as `13.0`; empty where the build used none.
        driver: Newest CUDA version that the driver supports; empty where the build used none.
        gpu: Name of the GPU that built it; empty where the build used none.
        compute_capability: Compute capability of that GPU, for example `8.0`; empty where the build used none.
        platform: Operating system and processor, for example `linux-x86_64`.
        onnx_sha256: Hash of the graph that the plan was built from.
        plan_sha256: Hash of the plan.
        plan_bytes: Size of the plan.
        build_seconds: Parsing and building, without the checks.
        device_memory_bytes: Activations and scratch memory of one execution context.
        timing_cache: What came of it, in words.
        certificate: Precision in which the layers run.
        golden: How near its outputs are; None where it was not run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensorrt: str
    cuda_runtime: str
    driver: str
    gpu: str
    compute_capability: str
    platform: str
    onnx_sha256: Sha256
    plan_sha256: Sha256
    plan_bytes: int = Field(ge=1)
    build_seconds: float
    device_memory_bytes: int
    timing_cache: str
    certificate: Certificate
    golden: GoldenCheck | None


class PlanDescription(PlanFacts):
    """What stands beside every plan.

    Attributes:
        schema_version: Raised when a meaning changes.
        options: How the plan was built.
        built_at: When, UTC, such as `2026-11-24T12:00:00Z`.
        tool: export-ssl's version.
    """

    schema_version: Literal[1] = SIDECAR_VERSION
    options: BuildOptions
    built_at: str
    tool: str


class Sidecar(PlanDescription):
    """All of `model.plan.json` or `model.rtx.plan.json`.

    Attributes:
        model: Name of the network.
        precision: Precision in the graph.
        licence: The weights' licence, which holds for the plan too.
    """

    model: str
    precision: PrecisionName
    licence: Licence


class ForeignPlan(PlanDescription):
    """What stands beside the plan of an ONNX graph that no export wrote, such as `x.rtx.plan.json` for `x.onnx`.

    Attributes:
        onnx: Name of the graph's file. Its licence is whatever the graph's is: nothing here knows it.
    """

    onnx: str


def read_sidecar(bundle: Path, engine: PlanEngine = "tensorrt") -> Sidecar:
    """Return what stands beside a bundle's plan.

    Args:
        bundle: The bundle's directory.
        engine: The library that the plan is for.

    Raises:
        BundleError: There is none, it is newer than this version, or broken.
    """
    files, rebuild = PLANS[engine], rebuild_command(bundle, engine)
    try:
        return read_versioned(bundle / files.sidecar, Sidecar, otherwise="does not describe a plan", next_step=rebuild)
    except OSError as error:
        raise BundleError(
            f"{bundle / files.plan} has no readable {files.sidecar} beside it ({error.strerror}), so it is unknown "
            f"what it was built from and for which GPU: {rebuild}"
        ) from error


def build_command(bundle: Path, engine: PlanEngine = "tensorrt") -> str:
    """Return the command that builds a bundle's plan, for an error message."""
    return f"run-ssl build {bundle}" if engine == "tensorrt" else f"run-ssl build {bundle} --engine {engine}"


def rebuild_command(bundle: Path, engine: PlanEngine = "tensorrt") -> str:
    """Return the next step where a plan cannot be used, for an error message."""
    where = " on this machine" if engine == "tensorrt" else ""
    return f"build it again{where} with `{build_command(bundle, engine)}`"
