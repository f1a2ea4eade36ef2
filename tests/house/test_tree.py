"""The tests' tree: it mirrors the source, helpers stand in `tests/helpers`, and `make fast` covers every package."""

import ast
from pathlib import Path

from tests.helpers import lanes
from tests.helpers.paths import ROOT

TESTS = ROOT / "tests"
# What is tested here is no folder of the source: the repository itself, its documents, its dependencies, and what
# stands in for a GPU.
OF_THEIR_OWN = {"bounds", "documents", "gpu", "house", "mutation", "tensorrt_bindings", "torture"}
# Who imports such a helper has its marker.
MARKED_HELPERS = {"tests.helpers.cpp.": "cpp", "tests.helpers.ray_cluster.": "ray"}
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
FOLDERS = {file.parent for file in FILES}


def test_every_test_folder_has_a_source_folder_of_its_name() -> None:
    assert [str(folder) for folder in FOLDERS if not (ROOT / folder).is_dir() and str(folder) not in OF_THEIR_OWN] == []


def test_no_test_module_imports_another() -> None:
    assert [f"{file}: {name}" for file in FILES for name in imported_tests(TESTS / file)] == []


def test_an_import_of_a_test_is_found_in_either_spelling(tmp_path: Path) -> None:
    source = "import tests.a.test_b\nfrom tests.a.test_c import d\nfrom tests.a import test_e, helper\n"
    (tmp_path / "test_x.py").write_text(source, encoding="utf-8")
    assert imported_tests(tmp_path / "test_x.py") == ["tests.a.test_b", "tests.a.test_c.d", "tests.a.test_e"]


def imported(path: Path) -> list[str]:
    """Return what a file imports, with the names after `from`: each may be a module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def imported_tests(path: Path) -> list[str]:
    """Return what a file imports of test modules."""
    return [name for name in imported(path) if any(part.startswith("test_") for part in name.split("."))]


def test_every_place_that_has_a_marker_is_there() -> None:
    assert [place for places in lanes.MARKED.values() for place in places if not (TESTS / place).exists()] == []


def test_what_builds_cpp_or_starts_a_cluster_has_the_marker_for_it() -> None:
    asked = [
        (file.as_posix(), marker)
        for file in FILES
        for name in imported(TESTS / file)
        for helper, marker in MARKED_HELPERS.items()
        if f"{name}.".startswith(helper)
    ]
    assert len(asked) > 10
    assert {file for file, marker in asked if marker not in lanes.markers_of(file)} == set()


def test_make_fast_runs_a_test_file_of_every_package() -> None:
    packages = {folder for folder in FOLDERS if (ROOT / folder / "__init__.py").is_file()}
    covered = {file.parent for file in FILES if not lanes.markers_of(file.as_posix())}
    assert {str(folder) for folder in packages - covered} == set()
