"""Programs and libraries that tests need and a machine may lack: each is a skip that names the package.

With CI=true in the environment the skip is a failure: continuous integration never tests less than it says.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

# Debian's clang only recommends what its sanitizers are linked with; this one follows the default version of clang.
CLANG_RUNTIME = "libclang-rt-dev"
# Headers of the libraries that the C library is built with, and the package of each.
_HEADERS = {"nlohmann/json.hpp": "nlohmann-json3-dev", "jpeglib.h": "libjpeg-dev", "png.h": "libpng-dev"}


def lack(what: str, package: str) -> NoReturn:
    """Skip the test for want of a tool; fail it where CI=true.

    Args:
        what: What is missing, as "clang-tidy not found".
        package: Debian's packages that bring it, separated by spaces.
    """
    leave_out(f"{what}: apt-get install {package}")


def require_rtx() -> None:
    """Skip the test where TensorRT for RTX is not installed; `needs_rtx` marks tests that ask this."""
    if find_spec("tensorrt_rtx_bindings") is None:
        leave_out("TensorRT for RTX is not installed: pip install 'export-ssl[rtx]'")


# The fixture is tests/conftest.py's.
needs_rtx = pytest.mark.usefixtures("rtx_library")


def leave_out(message: str) -> NoReturn:
    """Skip the test for want of what a message names; fail it where CI=true."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{message} (CI=true: nothing is skipped for want of a tool)", pytrace=False)
    pytest.skip(message)


def require_tool(*names: str, package: str) -> str:
    """Return the path of the first of some programs that is there; skip the test without any.

    Args:
        *names: What the program is called, the usual name first.
        package: Debian's packages that bring it.
    """
    for name in names:
        if found := shutil.which(name):
            return found
    lack(f"{names[0]} not found", package)


def require_headers(words: str) -> None:
    """Skip the test where a compiler says that it does not find a library's header.

    Args:
        words: What the compiler said, gcc or clang.
    """
    for header, package in _HEADERS.items():
        if f"{header}: No such file" in words or f"'{header}' file not found" in words:
            lack(f"{header} not found", package)


def require_flags(
    compiler: str, flags: Sequence[str], *, package: str, program: str = "int main() { return 0; }"
) -> None:
    """Skip the test where a compiler cannot compile and link a trial program with some flags.

    Args:
        compiler: A C++ compiler.
        flags: Flags of the compiler, such as -fsanitize=address, whose libraries are often in a package of their own.
        package: Debian's packages that bring them.
        program: The trial; libFuzzer brings a `main` of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [compiler, "-x", "c++", *flags, "-", "-o", str(Path(folder) / "trial")]
        done = subprocess.run(words, input=program, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), f"exit {done.returncode}")
        lack(f"{Path(compiler).name} does not link {' '.join(flags)} ({reason})", package)
