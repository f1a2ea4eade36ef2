"""The sources that are read without being imported: what they import may not be there."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("runtime", "calibration", "exporter")


@cache
def parsed(file: Path) -> ast.Module:
    """Return a source file's syntax tree."""
    return ast.parse(file.read_text(encoding="utf-8"))


def module_file(module: str) -> Path:
    """Return the file of a module of this project."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def all_files() -> list[Path]:
    """Return the source files of all packages, in order."""
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
