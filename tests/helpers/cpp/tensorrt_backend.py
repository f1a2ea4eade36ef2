"""Builds of the C++ back end of TensorRT, over the stand-in of CUDA and libnvinfer, for its tests."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from runtime.engines.trt.machine import current_platform
from tests.helpers.paths import CPP

STANDIN = CPP / "tests" / "standin"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
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
    "src/plan_check.cpp",
    "src/sha256.cpp",
    "tests/tensorrt_allocations.cpp",
    "tests/tensorrt_fixture.cpp",
    "tests/standin/cuda.cpp",
    "tests/standin/cuda_devices.cpp",
)
_PLAN_CHECK = (
    "src/bundle.cpp",
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


def compile_cpp(compiler: str, sources: Sequence[str], *flags: str) -> None:
    """Compile files of `runtime/cpp`, with every warning an error.

    Raises:
        AssertionError: The compiler refused; its words are in it.
    """
    include = [f"-I{CPP / 'include'}", f"-I{CPP / 'src'}", f"-I{CPP / 'tests'}"]
    command = [compiler, "-std=c++17", *WARNINGS, *include, *(str(CPP / file) for file in sources), *flags]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def build_tests(compiler: str, folder: Path, *, major: int, flags: Sequence[str] = ()) -> Path:
    """Return the program with the C++ tests; the stand-ins of libnvinfer lie beside it.

    Args:
        compiler: The compiler.
        folder: Where everything is written.
        major: TensorRT's major version that the headers play.
        flags: Of the compiler, for all of it.
    """
    common = [f"-I{STANDIN}", f"-DNV_TENSORRT_MAJOR={major}", *flags]
    for name, version in (("libnvinfer", ()), ("libnvinfer_other", ("-DSTANDIN_LIBRARY_VERSION=9300",))):
        output = ("-fPIC", "-shared", "-o", str(folder / f"{name}.so"))
        compile_cpp(compiler, ["tests/standin/nvinfer.cpp"], *common, *version, *output)
    platform = f'-DSTANDIN_PLATFORM="{current_platform()}"'
    program = folder / "tensorrt_tests"
    # -rdynamic: the stand-in library finds the stand-in of CUDA in the program.
    compile_cpp(compiler, _PROGRAM, *common, platform, "-DRNE_WITH_TENSORRT", "-rdynamic", "-o", str(program), "-ldl")
    return program


def build_plan_check(compiler: str, folder: Path) -> Path:
    """Return the program that says what C++ thinks of a bundle's plan."""
    program = folder / "plan_check"
    compile_cpp(compiler, _PLAN_CHECK, "-o", str(program))
    return program
