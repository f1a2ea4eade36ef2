"""The storeys inside `runtime`: a package imports only what stands below it, and commands are the roof."""

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.helpers.paths import ROOT

RUNTIME = ROOT / "runtime"
# From the ground up: a package may import itself and those of the storeys below; sisters never import each other.
STOREYS = (
    ("errors",),
    ("support",),
    ("bundle",),
    ("images", "neighbours"),
    ("data", "original"),
    ("engines",),
    ("plans", "on_ray"),
    ("health", "compare", "bench", "embed", "serving"),
    ("report",),
    ("search",),
    ("commands",),
)
PACKAGES = tuple(package for storey in STOREYS for package in storey)
# Loose files of `runtime`: the public names and the exceptions, and one more where it must be.
MOST_LOOSE_FILES = 3
# Where options of `export-ssl` are declared; and where it shares options and bars with `run-ssl`.
EXPORT_OPTIONS = {"exporter/cli.py", "exporter/number_options.py", "exporter/options.py"}
EXPORT_COMMAND_LINE = {*EXPORT_OPTIONS, "exporter/steps/plan.py"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield all that is imported, in functions too, with the names after `from`: each may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules_of(folder: Path) -> dict[str, ast.AST]:
    """Return the modules under a folder of the repository, by full name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): parsed(path) for path in sorted(folder.rglob("*.py"))
    }


def not_below(tree: ast.AST, package: str) -> list[str]:
    """Return the imports that a module of `runtime.PACKAGE` may not have; the front door is on no storey."""
    own = next(number for number, storey in enumerate(STOREYS) if package in storey)
    below = {f"runtime.{one}" for storey in STOREYS[:own] for one in storey} | {f"runtime.{package}"}
    inside = [name for name in imported(tree) if name.split(".")[0] == "runtime"]
    return [name for name in inside if ".".join(name.split(".")[:2]) not in below]


def circles(modules: Mapping[str, ast.AST], package: str) -> list[tuple[str, str]]:
    """Return the pairs of a folder in a package and what of the package it imports and is imported by.

    A package's folders stand below its loose files: `job.py` imports `output/`, so `output/` does not import it.
    """
    arrows: dict[str, set[str]] = defaultdict(set)
    depth = package.count(".") + 1
    folders = {name.split(".")[depth] for name in modules if name.count(".") > depth}
    for module, tree in modules.items():
        for name in imported(tree):
            if name.startswith(f"{package}."):
                arrows[module.split(".")[depth]].add(name.split(".")[depth])
    return [
        (folder, other) for folder in folders for other in arrows[folder] if other != folder and folder in arrows[other]
    ]


def test_every_package_of_runtime_stands_on_a_storey() -> None:
    folders = {path.parent.name for path in RUNTIME.glob("*/__init__.py")}
    loose = {path.stem for path in RUNTIME.glob("*.py")}
    assert sorted(PACKAGES) == sorted(folders | loose - {"__init__"})
    assert len(loose) <= MOST_LOOSE_FILES


def test_a_package_imports_only_what_stands_below_it() -> None:
    modules = {name: tree for name, tree in modules_of(RUNTIME).items() if name != "runtime.__init__"}
    faults = {name: not_below(tree, name.split(".")[1]) for name, tree in modules.items()}
    assert {name: found for name, found in faults.items() if found} == {}


def test_an_arrow_to_a_higher_storey_or_to_a_sister_is_found_even_inside_a_function() -> None:
    tree = ast.parse(
        "import runtime.embed.job, runtime.errors\nfrom runtime.bundle import layout\nfrom runtime import load_engine\n"
        "def f():\n    from runtime.compare.explain import explain\n    from runtime.report import inputs\n"
    )
    sister, above, front = "runtime.compare.explain.explain", "runtime.report.inputs", "runtime.load_engine"
    assert sorted(not_below(tree, "embed")) == sorted([front, sister, above])
    assert not_below(tree, "report") == [front]
    assert sorted(not_below(tree, "bundle")) == sorted(["runtime.embed.job", front, sister, above])


def test_the_folders_of_a_package_stand_below_its_loose_files() -> None:
    found = {package: circles(modules_of(RUNTIME / package), f"runtime.{package}") for package in PACKAGES}
    assert {package: pairs for package, pairs in found.items() if pairs} == {}


def test_the_folders_of_the_exporter_and_of_calibration_import_each_other_in_one_direction() -> None:
    found = {floor: circles(modules_of(ROOT / floor), floor) for floor in ("exporter", "calibration")}
    assert found == {"exporter": [], "calibration": []}


def test_a_folder_that_imports_its_user_is_found() -> None:
    sources = {
        "runtime.embed.job": "from runtime.embed.output.rows import Rows",
        "runtime.embed.request": "",
        "runtime.embed.output.rows": "from runtime.embed import job\nfrom runtime.embed.request import Request",
    }
    modules = {name: ast.parse(source) for name, source in sources.items()}
    assert circles(modules, "runtime.embed") == [("output", "job")]


def test_options_are_declared_and_commands_imported_by_the_command_lines_alone() -> None:
    typed, roofed = set(), set()
    for floor in ("runtime", "calibration", "exporter"):
        for name, tree in modules_of(ROOT / floor).items():
            found, file = set(imported(tree)), f"{name.replace('.', '/')}.py"
            if not name.startswith("runtime.commands."):
                typed |= {file for module in found if module.split(".")[0] == "typer"}
                roofed |= {file for module in found if f"{module}.".startswith("runtime.commands.")}
    assert typed <= EXPORT_OPTIONS
    assert roofed <= EXPORT_COMMAND_LINE
