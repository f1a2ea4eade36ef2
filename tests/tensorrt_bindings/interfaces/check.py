"""mypy over our files and the snippets, beside the stub of one version of TensorRT."""

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.engines.trt.versions import FEATURES
from tests.helpers.paths import ROOT
from tests.tensorrt_bindings.interfaces.snippets import PROLOGUE, RIGHT, WRONG
from tests.tensorrt_bindings.interfaces.stubs import INTERFACES, release, write_stub

# Attributes of other objects too: an object without a type that has one of these need not be TensorRT's.
COMMON = {
    "clear",
    "code",
    "desc",
    "dtype",
    "engine",
    "flags",
    "line",
    "log",
    "logger",
    "name",
    "node",
    "parse",
    "reset",
    "shape",
    "type",
    "value",
}


@dataclass(frozen=True)
class Found:
    """A type error.

    Attributes:
        file: Path of the file, for example `runtime/plans/build_network.py` or `snippets/build.py`.
        line: Line number, from 1.
        column: Column number, from 0.
        code: mypy's, such as `attr-defined`.
        message: mypy's.
    """

    file: str
    line: int
    column: int
    code: str
    message: str

    @property
    def is_of_any(self) -> bool:
        """True where an expression has no type, which is no error by itself."""
        return self.message.startswith(("Expression has type", "Expression type contains"))


def imports_tensorrt(path: Path) -> bool:
    """Return whether a file imports TensorRT anywhere, also in a function or for types only."""
    return any(
        (isinstance(node, ast.Import) and any(each.name.split(".")[0] == "tensorrt" for each in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tensorrt")
        for node in ast.walk(_tree(path))
    )


def files_that_import_tensorrt() -> list[Path]:
    """Return the files of the runtime that import TensorRT."""
    return [path for path in sorted(ROOT.glob("runtime/**/*.py")) if imports_tensorrt(path)]


def write_snippets(folder: Path) -> None:
    """Write the snippets as modules of the package `folder/snippets`."""
    package = folder / "snippets"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, text in {**RIGHT, **{name: each.text for name, each in WRONG.items()}}.items():
        (package / f"{name}.py").write_text(f"{PROLOGUE}{text}\n", encoding="utf-8")


def find_errors(version: str, folder: Path) -> dict[str, list[Found]]:
    """Return the errors of every file that has any, by one version's interface.

    Args:
        version: Version of TensorRT, for example `10.3`.
        folder: Holds the snippets, mypy's cache, and the stubs when this is done.
    """
    stubs = folder / version
    write_stub(version, stubs)
    errors = defaultdict(list)
    for each in _run_mypy(version, folder, options=""):
        errors[each.file].append(each)
    # A run of its own: mypy chooses other overloads under this option, and then reports errors that are none.
    untyped = [each for each in _run_mypy(version, folder, options="disallow_any_expr = true") if each.is_of_any]
    for file in {each.file for each in untyped}:
        places = set(_attributes((folder if file.startswith("snippets/") else ROOT) / file, _own_names(version)))
        # What is wrong has no type either: it is told once.
        wrong = {each.line for each in errors.get(file, [])}
        here = [each for each in untyped if each.file == file and (each.line, each.column) in places]
        errors[file] += [each for each in here if each.line not in wrong]
    return {file: found for file, found in errors.items() if found}


def _run_mypy(version: str, folder: Path, *, options: str) -> list[Found]:
    """Return what mypy says of our files, of the snippets and of the stub itself, under further options for ours."""
    stubs = folder / version
    config = stubs / "mypy.ini"
    config.write_text(_configuration(version, stubs, options), encoding="utf-8")
    # All of these two: a file need not import TensorRT to be given an object of its.
    of_plans = [path for package in ("engines/trt", "plans") for path in ROOT.glob(f"runtime/{package}/**/*.py")]
    files = sorted({*files_that_import_tensorrt(), *of_plans})
    arguments = ["--config-file", str(config), "--cache-dir", str(folder / "cache"), "--output", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments, *map(str, [*files, folder / "snippets", stubs / "tensorrt"])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1) or done.stderr:
        raise RuntimeError(f"mypy does not run for TensorRT {version}: {done.stdout}{done.stderr}")
    return [_found(line, folder) for line in done.stdout.splitlines()]


def _configuration(version: str, stubs: Path, options: str) -> str:
    """Return mypy's configuration.

    What differs between versions is said of our packages only: what mypy keeps of numpy then serves all of them.
    """
    library, number = release(version)
    present = [name for name, since in FEATURES.items() if library in since and number >= since[library]]
    absent = [name for name in FEATURES if name not in present]
    return (
        f"[mypy]\nstrict = true\nplugins = pydantic.mypy\nmypy_path = {stubs}\nfollow_imports = silent\n"
        # It has no types; what it offers is checked in test_cuda_names.py.
        "[mypy-cuda.*]\nignore_missing_imports = true\n"
        f"[mypy-runtime.*,snippets.*]\n{options}\n"
        f"always_true = {','.join(present)}\nalways_false = {','.join(absent)}\n"
    )


def _found(line: str, folder: Path) -> Found:
    said = json.loads(line)
    path = ROOT / said["file"]
    base = folder if path.is_relative_to(folder) else ROOT
    return Found(path.relative_to(base).as_posix(), said["line"], said["column"], said["code"], said["message"])


def _own_names(version: str) -> set[str]:
    """Return the methods and properties by whose name alone an object is TensorRT's."""
    classes = json.loads((INTERFACES / f"{version}.json").read_text(encoding="utf-8"))["classes"].values()
    return {name for each in classes for kind in ("methods", "properties") for name in each[kind]} - COMMON


def _attributes(path: Path, names: set[str]) -> Iterator[tuple[int, int]]:
    """Yield where the objects begin whose attribute of one of these names is used, as mypy counts."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.lineno, node.col_offset


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
