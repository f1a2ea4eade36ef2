"""The options of every command that runs on Ray."""

from typing import Annotated

import typer

# Heading of the help.
_ON_RAY = "On Ray"

RayOption = Annotated[
    bool,
    typer.Option(
        "--ray",
        help="Run on Ray: RAY_ADDRESS's cluster where that is set, else this machine.",
        rich_help_panel=_ON_RAY,
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        help="Run on the Ray cluster at HOST:PORT, or `auto` on one of its nodes.",
        show_default="none",
        rich_help_panel=_ON_RAY,
    ),
]
RayWorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="So many workers, for good.", show_default="as Ray finds room", rich_help_panel=_ON_RAY),
]
RayCpusOption = Annotated[int, typer.Option(min=1, help="CPUs of each worker.", rich_help_panel=_ON_RAY)]
RayGpusOption = Annotated[
    float, typer.Option(min=0, help="GPUs of each worker; with some, the engine runs there.", rich_help_panel=_ON_RAY)
]
