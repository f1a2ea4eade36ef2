"""The shape of the project: arrows run down only, and the ground floor needs only the base dependencies."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# From the ground up; a floor may import itself and those before it.
FLOORS = ("runtime", "calibration", "exporter")
# Beside the shipped floors: these import them and are never imported.
OUTSIDE = ("benchmarks", "tests")
HEAVY = frozenset(PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


SHIPPED = sources(*FLOORS)
named = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every imported module; a relative one starts with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def module_level_imports(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield what runs when the module is imported: not in functions, not under TYPE_CHECKING."""
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from module_level_imports(node.orelse)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        for block in ("body", "orelse", "finalbody"):
            yield from module_level_imports(getattr(node, block, []))
        for handler in getattr(node, "handlers", []):
            yield from module_level_imports(handler.body)


def upward(source: str, floor: str) -> list[str]:
    """Return the imports in `source` that a module of `floor` may not have."""
    forbidden = {*FLOORS[FLOORS.index(floor) + 1 :], *OUTSIDE}
    return [name for name in imports(ast.parse(source)) if name.split(".")[0] in forbidden]


def distributions(requirements: list[str]) -> set[str]:
    """Return the normalised distribution names of requirements, without this project's own."""
    names = {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0] for requirement in requirements}
    return {normalised(name) for name in names} - {normalised(PYPROJECT["project"]["name"])}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def import_names(requirements: list[str]) -> set[str]:
    """Return what the requirements are imported as; an absent one is taken to be named as its distribution."""
    wanted = distributions(requirements)
    installed = {
        module
        for module, providers in metadata.packages_distributions().items()
        if wanted & {normalised(provider) for provider in providers}
    }
    return installed | {name.replace("-", "_") for name in wanted}


BASE = import_names(PYPROJECT["project"]["dependencies"])
OPTIONAL = import_names([one for extra in PYPROJECT["project"]["optional-dependencies"].values() for one in extra])


def run_python(script: str) -> str:
    """Return what a fresh interpreter in the repository prints for `script`."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_exactly_the_three_floors() -> None:
    assert tuple(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == FLOORS
    assert {path.relative_to(ROOT).parts[0] for path in SHIPPED} == set(FLOORS)


@named
def test_arrows_run_down_only(path: Path) -> None:
    assert upward(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parts[0]) == []


def test_an_upward_arrow_is_found_even_inside_a_function() -> None:
    source = "def f():\n    from exporter.trace import g\n    import calibration.ranges, runtime.bundle.bundle\n"
    assert upward(source, "runtime") == ["exporter.trace", "calibration.ranges"]
    assert upward(source, "calibration") == ["exporter.trace"]
    assert upward(source, "exporter") == []


@named
def test_imports_are_absolute(path: Path) -> None:
    assert [name for name in imports(ast.parse(path.read_text(encoding="utf-8"))) if name.startswith(".")] == []


@named
def test_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert {name.split(".")[0] for name in module_level_imports(tree.body)} & HEAVY == set()


def test_a_heavy_import_is_found_in_a_class_or_a_try_and_not_under_type_checking() -> None:
    source = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "try:\n    import c\nexcept ImportError:\n    import d\n"
        "class K:\n    import e\n    def f(self):\n        import g\n"
    )
    assert list(module_level_imports(ast.parse(source).body)) == ["b", "c", "d", "e"]


@pytest.mark.parametrize("path", sources("runtime"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_ground_floor_needs_only_the_base_dependencies(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = BASE | sys.stdlib_module_names | {"runtime"}
    assert {name.split(".")[0] for name in module_level_imports(tree.body)} - allowed == set()


@pytest.mark.parametrize("path", sources(*FLOORS, "benchmarks"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_named_like_a_dependency_or_a_stdlib_module(path: Path) -> None:
    # A script that is run by its path puts its own folder first on sys.path: there, files and
    # folders alike hide what they are named like.
    taken = sys.stdlib_module_names | BASE | OPTIONAL | HEAVY
    inside = path.relative_to(ROOT).with_suffix("").parts
    assert [name for name in inside if name in taken - {"__main__"}] == []


def test_dependencies_are_known_by_their_import_names() -> None:
    assert {"numpy", "PIL", "pydantic", "rich", "typer"} <= BASE
    assert {"torch", "timm", "onnx", "onnxruntime", "openvino", "tensorrt"} <= OPTIONAL
    assert {"runtime", "exporter", "calibration"} & (BASE | OPTIONAL) == set()


def test_every_runtime_module_imports_where_no_optional_package_exists() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources("runtime")]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    blocked = sorted((OPTIONAL | HEAVY) - BASE)
    script = f"""
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked in this test", name=name)

sys.meta_path.insert(0, Blocked())
for name in {modules!r}:
    importlib.import_module(name)
try:
    import torch
except ModuleNotFoundError as error:
    print(error)
"""
    assert run_python(script) == "torch is blocked in this test\n"


def test_the_public_names_of_runtime_load_no_heavy_package() -> None:
    heavy = sorted(HEAVY | {"onnx", "onnx_ir", "safetensors", "huggingface_hub"})
    script = f"""
import sys
import runtime
for name in getattr(runtime, "__all__", ()):
    getattr(runtime, name)
print(sorted(set(sys.modules) & set({heavy!r})))
"""
    assert run_python(script) == "[]\n"
