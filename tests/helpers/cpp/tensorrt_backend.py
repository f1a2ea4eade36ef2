"""Builds of the C++ back end of TensorRT, over the stand-in of CUDA and libnvinfer, for its tests."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from runtime.engines.trt.machine import current_platform
from tests.helpers.cpp.objects import build_program
from tests.helpers.paths import CPP
from tests.helpers.tools import require_headers

STANDIN = CPP / "tests" / "standin"
_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
_FLAGS = ("-std=c++17", *_WARNINGS, f"-I{CPP / 'include'}", f"-I{CPP / 'src'}", f"-I{CPP / 'tests'}")
BACKEND = (
    "src/backend_tensorrt.cpp",
    "src/tensorrt_lane.cpp",
    "src/tensorrt_library.cpp",
    "src/tensorrt_log.cpp",
    "src/tensorrt_plan.cpp",
)
_TESTS = ("tests/tensorrt_test.cpp", "tests/tensorrt_failure_test.cpp")
_PROGRAM = (
    *BACKEND,
    *_TESTS,
    "src/backend.cpp",
    "src/backend_openvino_absent.cpp",
    "src/plan_check.cpp",
    "src/sha256.cpp",
    "tests/tensorrt_allocations.cpp",
    "tests/tensorrt_fixture.cpp",
    "tests/standin/cuda.cpp",
    "tests/standin/cuda_devices.cpp",
)
_PLAN_CHECK = (
    "src/bundle.cpp",
    "src/external_data.cpp",
    "src/manifest.cpp",
    "src/npy.cpp",
    "src/plan_check.cpp",
    "src/sha256.cpp",
    "tests/plan_check_main.cpp",
)


def names_of_tests() -> list[str]:
    """Return the names of the C++ tests."""
    found = (re.findall(r"^TEST\((\w+)\)", (CPP / file).read_text(encoding="utf-8"), re.M) for file in _TESTS)
    return [name for names in found for name in names]


def check_syntax(compiler: str, source: str, *flags: str) -> None:
    """Let the compiler read a file of `runtime/cpp`, with every warning an error.

    Raises:
        AssertionError: The compiler refused; its words are in it.
    """
    command = [compiler, *_FLAGS, str(CPP / source), *flags, "-fsyntax-only"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        require_headers(done.stderr)
    assert done.returncode == 0, done.stderr


def build_tests(compiler: str, folder: Path, *, major: int, flags: Sequence[str] = ()) -> Path:
    """Return the program with the C++ tests; the stand-ins of libnvinfer lie beside it.

    Args:
        compiler: The compiler.
        folder: Where everything is written.
        major: TensorRT's major version that the headers play.
        flags: Flags of the compiler, for all of it.
    """
    common = [*_FLAGS, f"-I{STANDIN}", f"-DNV_TENSORRT_MAJOR={major}", *flags]
    for name, version in (("libnvinfer", ()), ("libnvinfer_other", ("-DSTANDIN_LIBRARY_VERSION=9300",))):
        library = folder / f"{name}.so"
        build_program(
            compiler, library, [CPP / "tests/standin/nvinfer.cpp"], *common, *version, "-fPIC", link=["-shared"]
        )
    common += [f'-DSTANDIN_PLATFORM="{current_platform()}"', "-DRNE_WITH_TENSORRT"]
    # -rdynamic: the stand-in library finds the stand-in of CUDA in the program.
    sources = [CPP / file for file in _PROGRAM]
    return build_program(compiler, folder / "tensorrt_tests", sources, *common, link=["-rdynamic", "-ldl"])


def build_plan_check(compiler: str, folder: Path) -> Path:
    """Return the program that says what C++ thinks of a bundle's plan."""
    return build_program(compiler, folder / "plan_check", [CPP / file for file in _PLAN_CHECK], *_FLAGS)
