"""Which TensorRT is installed, and what it has."""

import json
import sys
import types
from pathlib import Path

import pytest

from runtime.engines.trt.library import RTX, TENSORRT
from runtime.engines.trt.machine import find_machine
from runtime.engines.trt.versions import find_features, find_tensorrt, parse_version, require_tensorrt
from runtime.errors import EngineError
from tests.helpers.paths import ROOT

# From NVIDIA's own bindings.
INTERFACES = ROOT / "tests/tensorrt_bindings/interfaces"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("10.16.1.11", (10, 16, 1, 11)),
        ("11.4.0.2", (11, 4, 0, 2)),
        ("10.3.0", (10, 3, 0, 0)),
        ("10.3", (10, 3, 0, 0)),
        ("10.3.0.post12.dev1", (10, 3, 0, 0)),
        ("10.16.1.11+cuda13", (10, 16, 1, 11)),
    ],
)
def test_version_is_up_to_four_numbers(text: str, numbers: tuple[int, int, int, int]) -> None:
    assert tuple(parse_version(text)) == numbers


@pytest.mark.parametrize("text", ["", "newest", "10", "v10.3", ".10.3"])
def test_version_without_two_numbers_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="expected numbers such as"):
        parse_version(text)


def test_versions_are_compared_as_numbers() -> None:
    assert parse_version("10.9.0") < parse_version("10.16.0")
    assert str(parse_version("10.16.1.11")) == "10.16.1.11"


@pytest.mark.parametrize(("version", "has"), [("10.3.0", False), ("10.8.0", False), ("10.9.0", True), ("11.4.0", True)])
def test_same_compute_capability_came_with_10_9(version: str, has: bool) -> None:
    assert find_features(parse_version(version)).HAS_SAME_COMPUTE_CAPABILITY is has


@pytest.mark.parametrize("file", sorted(INTERFACES.glob("*.json")), ids=lambda file: file.stem)
def test_features_agree_with_nvidias_own_bindings(file: Path) -> None:
    interface = json.loads(file.read_text(encoding="utf-8"))
    library = RTX if file.stem.startswith("rtx-") else TENSORRT
    features = find_features(parse_version(interface["version"]), library)
    has = "SAME_COMPUTE_CAPABILITY" in interface["enums"]["HardwareCompatibilityLevel"]
    assert features.HAS_SAME_COMPUTE_CAPABILITY is has
    assert features.HAS_COMPUTE_CAPABILITIES is ("ComputeCapability" in interface["enums"])


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str, name: str = "tensorrt") -> None:
    """Let a module of some text be the first of its name that is found."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_absent_package_names_the_extras() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "tensorrt", raising=False)
        patch.setattr(sys, "path", [])
        found, problem = find_tensorrt()
    assert found is None
    assert "TensorRT is not installed: pip install 'export-ssl[gpu]' (CUDA 13) or 'export-ssl[gpu-cu12]'" in problem


def test_absent_library_for_rtx_names_its_own_extras() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in RTX.modules:
            patch.delitem(sys.modules, name, raising=False)
        patch.setattr(sys, "path", [])
        found, problem = find_tensorrt(RTX)
    assert found is None
    assert problem.startswith(
        "TensorRT for RTX is not installed: pip install 'export-ssl[rtx]' (CUDA 13) or 'export-ssl[rtx-cu12]'"
    )


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("1.7.1.116", ""),
        ("1.9.0", ""),
        ("1.6.0.1", "TensorRT for RTX 1.6.0.1 is installed, expected 1.7 to 1.x"),
        ("2.0.0", "TensorRT for RTX 2.0.0.0 is installed, expected 1.7 to 1.x"),
    ],
)
def test_versions_of_the_library_for_rtx_are_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, problem: str
) -> None:
    # The metapackage's module comes before the bindings'.
    install(monkeypatch, tmp_path, f"__version__ = {version!r}\n", "tensorrt_rtx")
    found, said = find_tensorrt(RTX)
    assert found == parse_version(version)
    assert said.startswith(problem)
    assert bool(said) == bool(problem)


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("10.3.0", ""),
        ("11.4.0.2", ""),
        ("10.2.0.19", "TensorRT 10.2.0.19 is installed, expected 10.3 to 11.x"),
        ("12.0.0", "TensorRT 12.0.0.0 is installed, expected 10.3 to 11.x"),
    ],
)
def test_versions_from_10_3_to_11_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, problem: str
) -> None:
    install(monkeypatch, tmp_path, f"__version__ = {version!r}\n")
    found, said = find_tensorrt()
    assert found == parse_version(version)
    assert said.startswith(problem)
    assert bool(said) == bool(problem)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import tensorrt_libs_that_are_not_there", "lacks tensorrt_libs_that_are_not_there: pip install"),
        (
            "raise ImportError('libnvinfer.so.10: cannot open\\nmore')",
            "cannot be loaded (libnvinfer.so.10: cannot open)",
        ),
        ("raise OSError('libcudart.so.13: no such file')", "cannot be loaded (libcudart.so.13: no such file)"),
        ("__version__ = 'unknown'", "states its version as 'unknown'"),
        ("raise ImportError", "cannot be loaded"),
        ("", "TensorRT"),
    ],
    ids=["libs", "library", "runtime", "odd-version", "silent", "empty-module"],
)
def test_package_that_cannot_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, words: str
) -> None:
    install(monkeypatch, tmp_path, text)
    found, problem = find_tensorrt()
    assert found is None
    assert words in problem
    assert "\n" not in problem


def test_folder_of_that_name_in_the_working_directory_is_no_tensorrt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found, problem = find_tensorrt()
    assert found is None
    assert "TensorRT" in problem
    sys.modules.pop("tensorrt", None)


def test_unusable_tensorrt_is_an_error_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tensorrt")
    module.__dict__["__version__"] = "8.6.1"
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(EngineError, match=r"TensorRT 8\.6\.1\.0 is installed, expected 10\.3 to 11\.x"):
        require_tensorrt()
    module.__dict__["__version__"] = "10.16.1.11"
    assert tuple(require_tensorrt()) == (10, 16, 1, 11)


def test_machine_is_found_without_a_crash_whatever_it_has() -> None:
    machine = find_machine()
    assert machine.platform.startswith(f"{sys.platform}-")
    assert machine.problem or machine.device
