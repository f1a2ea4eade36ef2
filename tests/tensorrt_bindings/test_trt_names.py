"""Every name of TensorRT's in `runtime/` exists, and is used as NVIDIA's interface of each version says.

mypy reads our files beside type stubs written from `tests/tensorrt_bindings/interfaces`, once per version: nothing
here needs TensorRT.
"""

import ast
import json
import re
from pathlib import Path

import pytest

from runtime.engines.trt.versions import FEATURES
from tests.tensorrt_bindings.interfaces.check import (
    Found,
    files_that_import_tensorrt,
    find_errors,
    imports_tensorrt,
    write_snippets,
)
from tests.tensorrt_bindings.interfaces.snippets import RIGHT, WRONG
from tests.tensorrt_bindings.interfaces.stubs import NONE_RESULTS, release, versions, write_stub

FILES = files_that_import_tensorrt()
# Where TensorRT is not installed, a subclass of its is one of Any; nothing else is to be hidden from mypy.
ALLOWED_IGNORE = re.compile(r" *class \w+\(trt\.\w+\):  # type: ignore\[misc,unused-ignore\]")

Errors = dict[str, dict[str, list[Found]]]


@pytest.fixture(scope="session")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """Version to file to what is wrong in it."""
    folder = tmp_path_factory.mktemp("trt_names")
    write_snippets(folder)
    return {version: find_errors(version, folder) for version in versions()}


def number(version: str) -> tuple[int, ...]:
    """Return a version of TensorRT; TensorRT for RTX 1.7 has the names of 11.4, and more."""
    library, numbers = release(version)
    return numbers if library == "tensorrt" else (11, 4)


@pytest.mark.parametrize("version", versions())
def test_our_use_of_tensorrt_is_right_by_the_interface_of(version: str, errors: Errors) -> None:
    ours = [each for file, found in errors[version].items() if file.startswith("runtime/") for each in found]
    assert not ours, "\n" + "\n".join(f"{each.file}:{each.line}: {each.message}" for each in ours)


@pytest.mark.parametrize("version", versions())
def test_only_our_files_and_snippets_have_errors_for(version: str, errors: Errors) -> None:
    assert all(file.startswith(("runtime/", "snippets/")) for file in errors[version]), "the stub has type errors"


def test_the_files_that_use_tensorrt_are_found() -> None:
    assert {"build_network.py", "monitor.py", "parse_onnx.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize(
    "text",
    [
        "import tensorrt",
        "def f():\n    import tensorrt as trt",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tensorrt as trt",
        "from tensorrt import Builder",
    ],
)
def test_an_import_of_tensorrt_is_found_wherever_it_stands(text: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    assert imports_tensorrt(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_hidden_from_the_type_check(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "type: ignore" in line and not ALLOWED_IGNORE.fullmatch(line)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_name_of_tensorrts_is_made_from_text(path: Path) -> None:
    """Of `getattr(trt, name)` the type check would know nothing."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    dynamic = [node for node in calls if ast.unparse(node.func) in {"getattr", "setattr"} and node.args]
    assert [
        ast.unparse(node) for node in dynamic if ast.unparse(node.args[0]).split(".")[0] in {"trt", "tensorrt"}
    ] == []


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_use_passes_for_every_version(name: str, errors: Errors) -> None:
    assert [each for version in errors for each in errors[version].get(f"snippets/{name}.py", [])] == []


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_use_is_found_for_the_versions_it_is_wrong_for(name: str, errors: Errors) -> None:
    wrong = WRONG[name]
    found = {version: {each.code for each in errors[version].get(f"snippets/{name}.py", [])} for version in errors}
    expected = {version: wrong.since <= number(version) < wrong.before for version in errors}
    assert found == {version: {wrong.code} if is_wrong else set() for version, is_wrong in expected.items()}


@pytest.mark.parametrize("version", versions())
def test_nothing_in_the_stub_is_without_a_type(version: str, tmp_path: Path) -> None:
    write_stub(version, tmp_path)
    text = (tmp_path / "tensorrt/__init__.pyi").read_text(encoding="utf-8")
    assert not re.search(r"\bAny\b|__getattr__|__getattribute__", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            named = [each for each in [*node.args.posonlyargs, *node.args.args] if each.arg != "self"]
            assert node.returns is not None
            assert all(each.annotation is not None for each in named), node.name


def test_every_result_that_may_be_none_is_one_of_some_version(tmp_path: Path) -> None:
    methods = set()
    for version in versions():
        write_stub(version, tmp_path)
        tree = ast.parse((tmp_path / "tensorrt/__init__.pyi").read_text(encoding="utf-8"))
        for owner in tree.body:
            if isinstance(owner, ast.ClassDef):
                methods |= {(owner.name, each.name) for each in owner.body if isinstance(each, ast.FunctionDef)}
    assert methods >= NONE_RESULTS


def test_an_interface_with_an_unknown_type_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interface: dict[str, object] = {"version": "1.0.0", "enums": {}, "classes": {}, "other_classes": []}
    interface["functions"] = {"f": ["(a: Mystery) -> int"]}
    (tmp_path / "1.0.json").write_text(json.dumps(interface), encoding="utf-8")
    monkeypatch.setattr("tests.tensorrt_bindings.interfaces.stubs.INTERFACES", tmp_path)
    with pytest.raises(ValueError, match="Mystery"):
        write_stub("1.0", tmp_path)


def test_the_guards_are_flags_that_code_can_ask_for() -> None:
    assert all(name.startswith("HAS_") and name.isupper() for name in FEATURES)
