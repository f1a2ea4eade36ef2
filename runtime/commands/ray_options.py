"""The options of every command that runs on Ray."""

from typing import Annotated

import typer

# Heading of the help.
_ON_RAY = "On Ray"

RayOption = Annotated[
    bool,
    typer.Option(
        "--ray",
        help="Run on Ray: on the cluster at RAY_ADDRESS if that variable is set, otherwise on this machine.",
        rich_help_panel=_ON_RAY,
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        help="Run on the Ray cluster at HOST:PORT. `auto` finds the cluster when you are on one of its nodes.",
        show_default="none",
        rich_help_panel=_ON_RAY,
    ),
]
RayWorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of workers, fixed for the whole run.",
        show_default="as many as fit; Ray changes the number during the run",
        rich_help_panel=_ON_RAY,
    ),
]
RayCpusOption = Annotated[int, typer.Option(min=1, help="CPUs for each worker.", rich_help_panel=_ON_RAY)]
RayGpusOption = Annotated[
    float,
    typer.Option(
        min=0, help="GPUs for each worker. If more than 0, the engine runs on the GPU.", rich_help_panel=_ON_RAY
    ),
]
