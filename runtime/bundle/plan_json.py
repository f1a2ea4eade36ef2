"""What a plan is: the schema of `model.plan.json`, which stands beside the untouched plan.

TensorRT's plan states its own version and nothing else: not the GPU, the network, the licence or the
precision. All of it is here, and is compared before the plan is loaded (`runtime/engines/trt/preflight.py`).
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.bundle.layout import PLAN_FILE, SIDECAR_FILE
from runtime.bundle.manifest import Licence, PrecisionName, Sha256
from runtime.errors import BundleError
from runtime.plans.certify import Certificate
from runtime.plans.options import BuildOptions
from runtime.support.json_file import read_versioned

SIDECAR_VERSION: Literal[1] = 1


class GoldenCheck(BaseModel):
    """The plan on the golden images, against PyTorch's outputs.

    Attributes:
        logits_db: Logits SQNR, decibels; None where equal.
        embedding_db: Embedding SQNR, likewise.
        required_db: The manifest's tolerance.
        same_top1: Images with PyTorch's top-1 class.
        images: Golden images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    logits_db: float | None
    embedding_db: float | None
    required_db: float
    same_top1: int
    images: int


class PlanFacts(BaseModel):
    """What the building process knows of the plan that it made.

    Attributes:
        tensorrt: Version that built it, such as `10.16.1.11`.
        cuda_runtime: CUDA runtime of cuda-python, such as `13.0`.
        driver: Newest CUDA version that the driver supports.
        gpu: Name of the GPU.
        compute_capability: Such as `8.0`.
        platform: Such as `linux-x86_64`.
        onnx_sha256: Of the graph that it was built from.
        plan_sha256: Of the plan.
        plan_bytes: Its size.
        build_seconds: Parsing and building, without the checks.
        device_memory_bytes: Activations and scratch memory of one execution context.
        timing_cache: What came of it, in words.
        certificate: In which precision the layers run.
        golden: How near its outputs are.
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
    golden: GoldenCheck


class Sidecar(PlanFacts):
    """All of `model.plan.json`.

    Attributes:
        schema_version: Raised when a meaning changes.
        model: Name of the network.
        precision: Precision in the graph.
        licence: The weights' licence, which holds for the plan too.
        options: How the plan was built.
        built_at: When, UTC, such as `2026-11-24T12:00:00Z`.
        tool: export-ssl's version.
    """

    schema_version: Literal[1] = SIDECAR_VERSION
    model: str
    precision: PrecisionName
    licence: Licence
    options: BuildOptions
    built_at: str
    tool: str


def read_sidecar(bundle: Path) -> Sidecar:
    """Return what stands beside a bundle's plan.

    Raises:
        BundleError: There is none, it is newer than this version, or broken.
    """
    file, rebuild = bundle / SIDECAR_FILE, rebuild_command(bundle)
    try:
        return read_versioned(file, Sidecar, otherwise="does not describe a plan", next_step=rebuild)
    except OSError as error:
        raise BundleError(
            f"{bundle / PLAN_FILE} has no readable {SIDECAR_FILE} beside it ({error.strerror}), so nothing says what "
            f"it was built from and for: {rebuild}"
        ) from error


def rebuild_command(bundle: Path) -> str:
    """Return the next step where a plan cannot be used, for an error message."""
    return f"build it again on this machine with `run-ssl build {bundle}`"
