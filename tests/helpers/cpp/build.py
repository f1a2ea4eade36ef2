"""Builds of the C library and its examples with CMake, for the tests and benchmarks; nothing is built twice.

A build lies in a folder named by what it is made of, under `build/cpp` of the repository, and is made again by
CMake's own rules when a source changes.
"""

import fcntl
import functools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.tools import lack

SOURCE = ROOT / "runtime" / "cpp"
BUILDS = ROOT / "build" / "cpp"
EXAMPLES = ("classify", "embed", "latency")
# For builds that are there to be linked and run: files compiled together read nlohmann-json once, which is most of the
# time. The release build compiles them one by one, as a user does.
TOGETHER = {"CMAKE_UNITY_BUILD": "ON"}
# What Debian calls what is needed, for the message.
PACKAGES = "cmake g++ libjpeg-dev libpng-dev nlohmann-json3-dev"


@functools.cache
def missing_tools() -> str:
    """Return why nothing can be built here, or ''."""
    absent = [name for name in ("cmake", "c++") if shutil.which(name) is None]
    absent += [
        header for header in ("jpeglib.h", "png.h", "nlohmann/json.hpp") if not absent and not _has_header(header)
    ]
    return f"{', '.join(absent)} not found" if absent else ""


def require_tools() -> None:
    """Skip the test, visibly, where nothing can be built."""
    problem = missing_tools()
    if problem:
        lack(problem, PACKAGES)


def openvino_cmake() -> Path:
    """Return the folder with OpenVINO's CMake files, in its Python package."""
    import openvino

    return Path(openvino.__path__[0]) / "cmake"


def build_library(name: str = "release", **options: str) -> Path:
    """Build and install the library, and return the prefix.

    Args:
        name: Name of the build.
        **options: CMake variables beside the usual ones.
    """
    build, prefix = BUILDS / name, BUILDS / f"{name}-installed"
    given = {"OpenVINO_DIR": str(openvino_cmake()), "RNE_WARNINGS_AS_ERRORS": "ON", **options}
    with locked():
        configure(SOURCE, build, given)
        run("cmake", "--install", str(build), "--prefix", str(prefix))
    return prefix


def build_example(name: str, prefix: Path, *, source: Path | None = None, **options: str) -> Path:
    """Build an example against an installed library, and return the program."""
    build = BUILDS / f"{prefix.name}-{name}"
    with locked():
        configure(source or SOURCE / "examples" / name, build, {"CMAKE_PREFIX_PATH": str(prefix), **options})
    return build / name


@contextmanager
def locked() -> Iterator[None]:
    """Let one process build at a time: several workers of pytest-xdist share the folders. Not to be nested."""
    BUILDS.mkdir(parents=True, exist_ok=True)
    with (BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def configure(source: Path, build: Path, options: dict[str, str]) -> None:
    """Configure and build a CMake project."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(
        "cmake",
        "-S",
        str(source),
        "-B",
        str(build),
        *generator,
        *(f"-D{key}={value}" for key, value in options.items()),
    )
    run("cmake", "--build", str(build), "--parallel", "2")


def run(*words: str) -> str:
    """Run a command that must succeed and return what it prints."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def _has_header(header: str) -> bool:
    # jpeglib.h needs stdio.h before it.
    text = f"#include <cstddef>\n#include <cstdio>\n#include <{header}>\n"
    done = subprocess.run(["c++", "-x", "c++", "-std=c++17", "-fsyntax-only", "-"], input=text, text=True,
                          capture_output=True, check=False)  # fmt: skip
    return done.returncode == 0


def main() -> None:
    """Build the library and the examples: `make cpp`."""
    problem = missing_tools()
    if problem:
        sys.exit(f"error: {problem}: apt-get install {PACKAGES}")
    prefix = build_library()
    programs = [build_example(name, prefix) for name in EXAMPLES]
    print(f"installed in {prefix.relative_to(ROOT)}; {', '.join(str(path.relative_to(ROOT)) for path in programs)}")


if __name__ == "__main__":
    main()
