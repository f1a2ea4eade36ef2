"""The options of a plan's build, as `run-ssl build` and `export-ssl` take them. They import nothing heavy."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runtime.errors import UsageError
from runtime.support.engine_names import PlanEngine

if TYPE_CHECKING:
    from runtime.bundle.plan_json import BuildOptions

# Heading of the help.
PLAN_PANEL = "TensorRT plan"

HardwareCompatibility = Literal["none", "ampere+", "same-compute-capability"]

GpuOption = Annotated[
    str,
    typer.Option(
        help="Generations of RTX GPUs that the plan is for, comma-separated: turing, ampere, ada, blackwell. Only for "
        "tensorrt-rtx.",
        show_default="Ampere and later",
        rich_help_panel=PLAN_PANEL,
    ),
]
ComputeCapabilityOption = Annotated[
    str,
    typer.Option(
        metavar="CAPABILITIES",
        help="Compute capabilities of the RTX GPUs that the plan is for, comma-separated, such as 86,89. Use it "
        "instead of --gpu.",
        show_default="Ampere and later",
        rich_help_panel=PLAN_PANEL,
    ),
]
ProfileOption = Annotated[
    str,
    typer.Option(
        help="Batch sizes of the plan, MIN:OPT:MAX. It is fastest at OPT. Batches larger than MAX are split.",
        rich_help_panel=PLAN_PANEL,
    ),
]
WorkspaceOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Largest scratch memory that one layer may use, in MiB.",
        show_default="all of the GPU's memory",
        rich_help_panel=PLAN_PANEL,
    ),
]
LevelOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=5,
        help="How long to search for a fast plan, from 0 (shortest build) to 5 (longest search).",
        rich_help_panel=PLAN_PANEL,
    ),
]
TimingCacheOption = Annotated[
    str,
    typer.Option(
        help="File that stores measured kernel times, to make the next build faster. `none`: store nothing.",
        show_default="one per version and GPU in ~/.cache/export-ssl",
        rich_help_panel=PLAN_PANEL,
    ),
]
VersionCompatibleOption = Annotated[
    bool,
    typer.Option(
        "--version-compatible",
        help="Let later TensorRT versions load the plan too. Such a plan contains code for the CPU, and may be slower.",
        rich_help_panel=PLAN_PANEL,
    ),
]
HardwareCompatibleOption = Annotated[
    HardwareCompatibility,
    typer.Option(
        metavar="GPUS",
        help="Let other GPUs load the plan too: ampere+ or same-compute-capability. Such a plan may be slower.",
        rich_help_panel=PLAN_PANEL,
    ),
]
MinShareOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Smallest share of the INT8 and FP16 layers that must really run in their precision. If fewer do, no plan "
        "is written.",
        rich_help_panel=PLAN_PANEL,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Show TensorRT's log, and the trtexec commands that build the same plan.",
        rich_help_panel=PLAN_PANEL,
    ),
]


@dataclass(frozen=True)
class BuildChoices:
    """The options as they were typed; `read` checks them.

    Attributes:
        engine: The library that the plan is for.
        gpu: Generations, comma-separated; empty for the library's own choice.
        compute_capability: Compute capabilities, likewise.
        profile: `MIN:OPT:MAX`.
        workspace: MiB, or None.
        optimization_level: 0 to 5.
        timing_cache: A file, `none`, or empty for the default.
        version_compatible: See `BuildOptions`.
        hardware_compatible: See `BuildOptions`.
        min_share: See `BuildOptions.required_share`.
        verbose: Whether to show TensorRT's log.
    """

    engine: PlanEngine = "tensorrt"
    gpu: str = ""
    compute_capability: str = ""
    profile: str = "1:8:32"
    workspace: int | None = None
    optimization_level: int = 3
    timing_cache: str = ""
    version_compatible: bool = False
    hardware_compatible: HardwareCompatibility = "none"
    min_share: float = 1.0
    verbose: bool = False

    def read(self) -> "BuildOptions":
        """Return how to build.

        Raises:
            UsageError: An option has an impossible value, or no meaning with this engine.
        """
        from runtime.bundle.plan_json import BatchProfile, BuildOptions
        from runtime.engines.trt.capabilities import parse_capabilities
        from runtime.engines.trt.library import LIBRARIES

        refused = LIBRARIES[self.engine].refused
        for option in self.changed():
            if option in refused:
                raise UsageError(
                    f"{option} has no meaning with --engine {self.engine}: {refused[option]}; leave it out"
                )
        return BuildOptions(
            engine=self.engine,
            compute_capabilities=parse_capabilities(self.gpu, self.compute_capability),
            profile=BatchProfile.parse(self.profile),
            workspace_mib=self.workspace,
            optimization_level=self.optimization_level,
            version_compatible=self.version_compatible,
            hardware_compatibility=self.hardware_compatible,
            required_share=self.min_share,
        )

    def changed(self) -> list[str]:
        """Return the options that are not at their default."""
        return [f"--{one.name.replace('_', '-')}" for one in fields(self) if getattr(self, one.name) != one.default]

    def timing_cache_path(self) -> Path | None:
        """Return where kernel times are kept; None for nowhere.

        Raises:
            EngineError: There is no TensorRT or GPU, whose names are in the default.
            UsageError: The option names a directory.
        """
        from runtime.engines.trt.library import LIBRARIES
        from runtime.engines.trt.machine import require_machine
        from runtime.plans.timing_cache import default_path

        if self.timing_cache == "none" or not LIBRARIES[self.engine].builds_on_gpu:
            return None
        path = Path(self.timing_cache) if self.timing_cache else default_path(*require_machine())
        if path.is_dir():
            raise UsageError(f"--timing-cache {path} is a directory: expected a file")
        return path
