"""The options of a TensorRT build, as `run-ssl build` and `export-ssl` take them. They import nothing else."""

from enum import Enum
from typing import Annotated

import typer


class HardwareChoice(str, Enum):
    """Which other GPUs may load the plan."""

    none = "none"
    ampere_plus = "ampere+"
    same_compute_capability = "same-compute-capability"


ProfileOption = Annotated[
    str, typer.Option(help="TensorRT: batch sizes MIN:OPT:MAX; kernels are chosen for OPT, larger batches are split.")
]
WorkspaceOption = Annotated[
    int | None,
    typer.Option(min=1, help="TensorRT: scratch memory for a layer, MiB.", show_default="the GPU's memory"),
]
LevelOption = Annotated[
    int, typer.Option(min=0, max=5, help="TensorRT: 0 builds fastest, 5 searches longest for the fastest plan.")
]
TimingCacheOption = Annotated[
    str,
    typer.Option(
        help="TensorRT: file that keeps measured kernel times, so that the next build is faster; `none` for none.",
        show_default="one per version and GPU in ~/.cache/export-ssl",
    ),
]
VersionCompatibleOption = Annotated[
    bool,
    typer.Option(
        "--version-compatible",
        help="TensorRT: later versions may load the plan too. It then holds host code, and may be slower.",
    ),
]
HardwareCompatibleOption = Annotated[
    HardwareChoice, typer.Option(help="TensorRT: other GPUs that may load the plan too; it may be slower.")
]
MinShareOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="TensorRT: share of the INT8 and FP16 layers that must run as promised, else there is no plan.",
    ),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", help="Show TensorRT's log and the trtexec commands that do the same.")
]
