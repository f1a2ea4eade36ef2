"""The shape of the project: arrows run down only, and the ground floor needs only the base dependencies."""

import ast
import functools
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.project import BASE, HEAVY, OPTIONAL, PYPROJECT

# From the ground up; a floor may import itself and those before it.
FLOORS = ("runtime", "calibration", "exporter")
# Beside the shipped floors: these import them and are never imported.
OUTSIDE = ("benchmarks", "tests")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


SHIPPED = sources(*FLOORS)


def offenders(paths: list[Path], faults: Callable[[Path], Iterable[str]]) -> list[str]:
    """Return a line for every fault of every file, the file first: one test reads them all."""
    return [f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in faults(path)]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every imported module; a relative one starts with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def called(tree: ast.AST) -> Iterator[str]:
    """Yield the last name of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2]


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


def top_packages(path: Path) -> set[str]:
    """Return the packages that are imported when a module is."""
    return {name.split(".")[0] for name in module_level_imports(parsed(path).body)}


def upward(tree: ast.AST, floor: str) -> list[str]:
    """Return the imports in a module of `floor` that it may not have."""
    forbidden = {*FLOORS[FLOORS.index(floor) + 1 :], *OUTSIDE}
    return [name for name in imports(tree) if name.split(".")[0] in forbidden]


def run_python(script: str) -> str:
    """Return what a fresh interpreter in the repository prints for `script`."""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_exactly_the_three_floors() -> None:
    assert tuple(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == FLOORS
    assert {path.relative_to(ROOT).parts[0] for path in SHIPPED} == set(FLOORS)


def test_arrows_run_down_only() -> None:
    assert offenders(SHIPPED, lambda path: upward(parsed(path), path.relative_to(ROOT).parts[0])) == []


def test_an_upward_arrow_is_found_even_inside_a_function() -> None:
    source = ast.parse(
        "def f():\n    from exporter.trace import g\n    import calibration.ranges, runtime.bundle.bundle\n"
    )
    assert upward(source, "runtime") == ["exporter.trace", "calibration.ranges"]
    assert upward(source, "calibration") == ["exporter.trace"]
    assert upward(source, "exporter") == []


def test_one_module_opens_onnxruntime_sessions() -> None:
    made = {"InferenceSession", "SessionOptions"}
    found = {path for path in SHIPPED if made & set(called(parsed(path)))}
    # In bench/peers a library as anyone calls it is the point.
    expected = {"runtime/engines/ort_session.py", "runtime/bench/peers/libraries.py"}
    assert {path.relative_to(ROOT).as_posix() for path in found} == expected


def test_a_call_is_found_by_attribute_and_by_name() -> None:
    source = "a = ort.InferenceSession(model)\ndef f() -> 'ort.InferenceSession':\n    return SessionOptions()\n"
    assert sorted(called(ast.parse(source))) == ["InferenceSession", "SessionOptions"]


def test_imports_are_absolute() -> None:
    assert offenders(SHIPPED, lambda path: [name for name in imports(parsed(path)) if name.startswith(".")]) == []


def test_the_console_scripts_are_the_command_lines() -> None:
    assert {one.partition(":")[0] for one in PYPROJECT["project"]["scripts"].values()} == {
        *("exporter.cli", "runtime.commands.run_ssl"),
    }


def test_heavy_packages_are_imported_inside_functions() -> None:
    assert offenders(SHIPPED, lambda path: top_packages(path) & HEAVY) == []


def test_a_heavy_import_is_found_in_a_class_or_a_try_and_not_under_type_checking() -> None:
    source = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "try:\n    import c\nexcept ImportError:\n    import d\n"
        "class K:\n    import e\n    def f(self):\n        import g\n"
    )
    assert list(module_level_imports(ast.parse(source).body)) == ["b", "c", "d", "e"]


def test_the_ground_floor_needs_only_the_base_dependencies() -> None:
    allowed = BASE | sys.stdlib_module_names | {"runtime"}
    assert offenders(sources("runtime"), lambda path: top_packages(path) - allowed) == []


def test_no_module_is_named_like_a_dependency_or_a_stdlib_module() -> None:
    # A script that is run by its path puts its own folder first on sys.path: there, files and
    # folders alike hide what they are named like.
    taken = (sys.stdlib_module_names | BASE | OPTIONAL | HEAVY) - {"__main__"}
    files = sources(*FLOORS, "benchmarks")
    assert offenders(files, lambda path: taken & set(path.relative_to(ROOT).with_suffix("").parts)) == []


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


def test_every_module_imports_where_python_has_no_posix_modules() -> None:
    # As on Windows, which also lacks these calls and signals. Packages are loaded before: what they need is their own.
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SHIPPED]
    modules = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    absent = ["curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"]
    script = f"""
import importlib, os, signal, sys
import numpy, onnx, onnx_ir, PIL.Image, pydantic, rich.console, typer
for name in ("getuid", "fork", "sched_getaffinity", "uname"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM"):
    delattr(signal, name)
for name in {absent!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
from pathlib import Path
from runtime.embed.output.directory import check_output
from runtime.errors import BundleError
from runtime.on_ray.node_folder import alone, own_folder
for use in (lambda: check_output(Path("out"), overwrite=False), own_folder, lambda: alone(Path("out")).__enter__()):
    try:
        use()
    except BundleError as error:
        print(error)
"""
    lines = run_python(script).splitlines()
    assert len(lines) == 3
    assert all("run it on Linux, on macOS or in WSL" in line for line in lines)
