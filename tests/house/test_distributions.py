"""What a user installs: the wheel holds what runs and nothing of what tests it; the sdist holds the tests too."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

hatchling = pytest.importorskip("hatchling", reason="hatchling is not installed: pip install hatchling")

FLOORS = ("runtime", "calibration", "exporter")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names of the files in the wheel, without those of its metadata."""
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as opened:
        return frozenset(name for name in opened.namelist() if ".dist-info/" not in name)


def in_checkout(*folders: str, suffixes: set[str]) -> set[str]:
    """Return the files of the checkout with one of these suffixes."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_wheel_holds_the_three_floors_whole(wheel: frozenset[str]) -> None:
    assert {name for name in wheel if name.endswith(".py")} == in_checkout(*FLOORS, suffixes={".py"})
    assert {f"{floor}/py.typed" for floor in FLOORS} <= wheel
    assert {"runtime/report/page.css", "runtime/report/page.js"} <= wheel
    assert {name for name in wheel if name.endswith(".jpg")} == in_checkout("exporter/photographs", suffixes={".jpg"})
    assert "exporter/photographs/SOURCES.md" in wheel


def test_the_wheel_holds_all_that_the_c_library_and_its_examples_are_built_of(wheel: frozenset[str]) -> None:
    sources = in_checkout(
        *(f"runtime/cpp/{folder}" for folder in ("src", "include", "examples", "cmake")),
        suffixes={".cpp", ".h", ".inc", ".in", ".cmake", ".txt"},
    )
    assert "runtime/cpp/include/resnet_engine.h" in sources
    assert {name for name in wheel if name.startswith("runtime/cpp/")} == {*sources, "runtime/cpp/CMakeLists.txt"}


def test_nothing_of_the_wheel_is_for_tests(wheel: frozenset[str]) -> None:
    # A false NvInferRuntime.h in site-packages may be found by a user's own build.
    assert [name for name in wheel if {"tests", "fuzz", "standin"} & {*Path(name).parts}] == []
    assert [name for name in wheel if Path(name).name in ("NvInferRuntime.h", "cuda_runtime_api.h")] == []


def test_the_c_library_is_described_without_what_the_wheel_leaves_out() -> None:
    described = [path for path in (ROOT / "runtime" / "cpp").rglob("*") if path.name.startswith("CMakeLists")]
    assert len(described) >= 2
    for path in described:
        text = path.read_text(encoding="utf-8")
        assert [word for word in ("tests/", "fuzz/", "standin") if word in text] == []


def test_the_sdist_holds_what_the_wheel_leaves_out(tmp_path: Path) -> None:
    from hatchling.builders.sdist import SdistBuilder

    (built,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(built) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py"} <= names
    assert {"runtime/cpp/tests/standin/NvInferRuntime.h", "runtime/cpp/fuzz/fuzz_image.cpp"} <= names
    assert in_checkout(*FLOORS, suffixes={".py", ".typed"}) <= names
    # What is made here, and ignored by git, is no source.
    assert [name for name in names if name.split("/")[0] in (".venv", "build", "demo", "dist")] == []
