"""Write docs/reference/ from the code: `make reference`.

    python -m benchmarks.documents.write_reference [--check]

    commands.md                 every command and option, from Typer
    bundle.md                   files and fields, from runtime/bundle/layout.py and the pydantic schemas
    python.md                   public names, from the docstrings
    models.md                   timm's ResNets, from what `benchmarks.export.family` measured
    errors.md, exit-codes.md    exceptions, and the paragraphs of Troubleshooting that their messages lead to

`--check` writes nothing and fails when a page is stale. No package is imported that a device lacks.
"""

import argparse
import sys
from collections.abc import Callable

from benchmarks.documents.reference.commands_page import commands_page
from benchmarks.documents.reference.errors_page import errors_page, exit_codes_page
from benchmarks.documents.reference.files_page import files_page
from benchmarks.documents.reference.models_page import models_page
from benchmarks.documents.reference.python_page import python_page
from benchmarks.documents.reference.sources import ROOT

REFERENCE = ROOT / "docs" / "reference"
WRITERS: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "bundle.md": files_page,
    "python.md": python_page,
    "models.md": models_page,
    "errors.md": errors_page,
    "exit-codes.md": exit_codes_page,
}


def is_stale(name: str) -> bool:
    """Return whether a page is another than the code gives."""
    page = REFERENCE / name
    return not page.is_file() or page.read_text(encoding="utf-8") != WRITERS[name]()


def main() -> None:
    """Write the pages that are stale, or say which."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args().check
    stale = [name for name in WRITERS if is_stale(name)]
    if check and stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make reference`")
    for name in stale:
        (REFERENCE / name).write_text(WRITERS[name](), encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
