"""The `--version` of both command lines."""

from importlib import metadata
from typing import Any

import typer


def version_option(program: str) -> Any:
    """Return the option that prints a program's name with its version and ends it.

    Args:
        program: `export-ssl` or `run-ssl`.
    """

    def show(wanted: bool) -> None:
        if wanted:
            print(f"{program} {metadata.version('export-ssl')}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Print the version and exit.")
