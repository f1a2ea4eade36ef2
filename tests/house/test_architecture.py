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
# Of `runtime`, from the ground up: a package may import itself and those of the storeys below; sisters never import
# each other.
STOREYS = (
    ("errors",),
    ("support",),
    ("bundle",),
    ("images",),
    ("data", "original"),
    ("engines",),
    ("plans", "on_ray"),
    ("health", "compare", "bench", "embed", "serving"),
    ("report",),
    ("commands",),
)
# Loose files of `runtime`: the public names and the exceptions, and one more where it must be.
MOST_LOOSE_FILES = 3
# Where options of `export-ssl` are declared; and where it shares options and bars with `run-ssl`.
EXPORT_OPTIONS = {"exporter/cli.py", "exporter/options.py"}
EXPORT_COMMAND_LINE = {*EXPORT_OPTIONS, "exporter/steps/plan.py"}
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


def package_of(path: Path) -> str:
    """Return which of STOREYS' packages a file of `runtime` is in, or is."""
    return path.relative_to(ROOT / "runtime").with_suffix("").parts[0]


def not_below(tree: ast.AST, package: str) -> list[str]:
    """Return the imports in a module of `runtime.PACKAGE` that it may not have; the front door is no storey."""
    own = next(number for number, storey in enumerate(STOREYS) if package in storey)
    below = {f"runtime.{one}" for storey in STOREYS[:own] for one in storey} | {f"runtime.{package}"}
    inside = [name for name in imports(tree) if name.split(".")[0] == "runtime"]
    return [name for name in inside if ".".join(name.split(".")[:2]) not in below]


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports, with the names after `from`: each may be a module too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_in_circles(trees: dict[str, ast.Module]) -> list[tuple[str, str]]:
    """Return the pairs of a folder inside a package and what it both imports and is imported by.

    A package's folders stand below its loose files: `job.py` imports `output/`, so `output/` does not import it.

    Args:
        trees: Full module name to what it holds, of one package.
    """
    package = ".".join(next(iter(trees)).split(".")[:2])
    arrows = set()
    for module, tree in trees.items():
        room = module.removeprefix(f"{package}.").split(".")[0]
        for name in imported_modules(tree):
            if name.startswith(f"{package}."):
                arrows.add((room, name.removeprefix(f"{package}.").split(".")[0]))
    folders = {module.split(".")[2] for module in trees if module.count(".") > 2}
    return sorted((one, other) for one, other in arrows if one in folders and one != other and (other, one) in arrows)


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


def test_every_package_of_runtime_stands_on_a_storey() -> None:
    packages = {path.parent.name for path in (ROOT / "runtime").glob("*/__init__.py")}
    loose = {path.stem for path in (ROOT / "runtime").glob("*.py")}
    on_storeys = [package for storey in STOREYS for package in storey]
    assert len(on_storeys) == len(set(on_storeys))
    assert set(on_storeys) == packages | (loose - {"__init__"})
    assert len(loose) <= MOST_LOOSE_FILES


def test_a_package_imports_only_what_stands_below_it() -> None:
    inside = [path for path in sources("runtime") if path != ROOT / "runtime" / "__init__.py"]
    assert offenders(inside, lambda path: not_below(parsed(path), package_of(path))) == []


def test_an_arrow_to_a_higher_storey_or_to_a_sister_is_found_even_inside_a_function() -> None:
    tree = ast.parse(
        "import runtime.embed.job, runtime.errors\nfrom runtime.bundle import layout\nfrom runtime import load_engine\n"
        "def f():\n    from runtime.compare.explain import explain\n    from runtime.report.inputs import read_inputs\n"
    )
    sister, above, front = "runtime.compare.explain", "runtime.report.inputs", "runtime"
    assert not_below(tree, "embed") == [front, sister, above]
    assert not_below(tree, "report") == [front]
    assert not_below(tree, "bundle") == ["runtime.embed.job", front, sister, above]


def test_the_folders_of_a_package_stand_below_its_loose_files() -> None:
    for package in (package for storey in STOREYS[1:] for package in storey):
        files = (ROOT / "runtime" / package).rglob("*.py")
        trees = {".".join(path.relative_to(ROOT).with_suffix("").parts): parsed(path) for path in files}
        assert rooms_in_circles(trees) == []


def test_a_folder_that_imports_its_user_is_found() -> None:
    modules = {
        "runtime.embed.job": "from runtime.embed.output.rows import Rows",
        "runtime.embed.request": "",
        "runtime.embed.output.rows": "from runtime.embed import job\nfrom runtime.embed.request import Request",
    }
    trees = {name: ast.parse(source) for name, source in modules.items()}
    assert rooms_in_circles(trees) == [("output", "job")]


def outside_the_command_line(allowed: set[str]) -> list[Path]:
    """Return the shipped files but for `runtime/commands/` and those allowed."""
    names = {path: path.relative_to(ROOT).as_posix() for path in SHIPPED}
    return [path for path, name in names.items() if not name.startswith("runtime/commands/") and name not in allowed]


def test_options_are_declared_by_the_command_lines_alone() -> None:
    files = outside_the_command_line(EXPORT_OPTIONS)
    assert (
        offenders(files, lambda path: {name for name in imports(parsed(path)) if name.split(".")[0] == "typer"}) == []
    )


def test_commands_are_the_roof() -> None:
    files = outside_the_command_line(EXPORT_COMMAND_LINE)
    roof = "runtime.commands."
    assert offenders(files, lambda path: [name for name in imports(parsed(path)) if f"{name}.".startswith(roof)]) == []


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
