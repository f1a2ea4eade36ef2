"""What `from runtime import …` and the like offer: real, documented, typed, and cheap until it is used."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
HEAVY = frozenset(RUFF["flake8-tidy-imports"]["banned-module-level-imports"])
FLOORS = ("runtime", "calibration", "exporter")
PUBLIC = [(floor, name) for floor in FLOORS for name in import_module(floor).__all__]
every_floor = pytest.mark.parametrize("floor", FLOORS)
every_name = pytest.mark.parametrize(("floor", "name"), PUBLIC, ids=".".join)


def run_python(*words: str) -> str:
    """Return what a fresh interpreter in the repository prints."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@every_floor
def test_a_floor_has_public_names_in_order(floor: str) -> None:
    names = import_module(floor).__all__
    assert names
    assert names == sorted(set(names))


@every_name
def test_a_public_name_is_the_thing_itself_with_a_docstring(floor: str, name: str) -> None:
    found = getattr(import_module(floor), name)
    assert found.__name__ == name
    assert found is getattr(import_module(found.__module__), name)
    assert len(inspect.cleandoc(found.__doc__)) > 20
    # A dataclass without a docstring gets its signature as one.
    assert not found.__doc__.startswith(f"{name}(")


@every_floor
def test_a_type_checker_is_told_of_the_same_names_in_the_same_modules(floor: str) -> None:
    tree = ast.parse((ROOT / floor / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    package = import_module(floor)
    assert seen == {name: getattr(package, name).__module__ for name in package.__all__}
    assert (ROOT / floor / "py.typed").is_file()


@pytest.mark.slow
def test_mypy_sees_public_names_with_their_types_and_finds_others(tmp_path: Path) -> None:
    lines = [f"import {floor}" for floor in FLOORS]
    lines += [f"reveal_type({floor}.{name})" for floor, name in PUBLIC]
    lines += [f"{floor}.nothing_of_that_name" for floor in FLOORS]
    (tmp_path / "user.py").write_text("\n".join(lines), encoding="utf-8")
    said = run_python("-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "user.py"))
    revealed = re.findall(r'Revealed type is "(.*)"', said)
    assert len(revealed) == len(PUBLIC), said
    assert [text for text in revealed if text in ("Any", "builtins.object")] == []
    assert said.count('Module has no attribute "nothing_of_that_name"') == len(FLOORS)


@every_floor
def test_importing_a_floor_loads_the_standard_library_alone(floor: str) -> None:
    loaded = run_python("-c", f"import sys, {floor}; print(*sys.modules)").split()
    own = sys.stdlib_module_names | {*FLOORS, "__main__"}
    # What a virtual environment loads at start, before anything is imported.
    before = run_python("-c", "import sys; print(*sys.modules)").split()
    assert {name.split(".")[0] for name in set(loaded) - set(before)} - own == set()


@every_floor
def test_public_names_load_no_heavy_package(floor: str) -> None:
    heavy = HEAVY | ({"onnx", "onnx_ir", "safetensors", "huggingface_hub"} if floor == "runtime" else set())
    script = f"""
import sys
import {floor}
assert {floor}.__all__
for name in {floor}.__all__:
    getattr({floor}, name)
print(sorted(set(sys.modules) & set({sorted(heavy)!r})))
"""
    assert run_python("-c", script) == "[]\n"


def test_a_name_that_is_not_public_is_an_attribute_error_as_of_any_module() -> None:
    for floor in FLOORS:
        with pytest.raises(AttributeError, match=f"module '{floor}' has no attribute 'nothing_of_that_name'"):
            _ = import_module(floor).nothing_of_that_name
