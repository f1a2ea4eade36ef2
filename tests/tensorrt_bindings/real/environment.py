"""NVIDIA's real Python bindings in a process of their own, over stub libraries: no GPU and no libnvinfer needed."""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from runtime.support.engine_names import PlanEngine
from tests.helpers.paths import ROOT
from tests.helpers.tools import leave_out, require_rtx, require_tool
from tests.tensorrt_bindings.install_bindings import TARGET, requirements

STUB = Path(__file__).with_name("stub.c")
VERSIONS = tuple(requirements())
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
# The bindings look for this package first; NVIDIA's own loads the real libraries in the same way.
LIBS_PACKAGE = """import ctypes
from pathlib import Path

for library in {libraries!r}:
    ctypes.CDLL(str(Path(__file__).with_name(library)), mode=ctypes.RTLD_GLOBAL)
"""
# NVIDIA's package `tensorrt` is a front for `tensorrt_bindings` too.
FRONT_PACKAGE = """import sys

import {bindings}

sys.modules["tensorrt"] = {bindings}
"""
RTX_BINDINGS = "tensorrt_rtx_bindings"


@dataclass(frozen=True)
class Bindings:
    """One version of the bindings, ready to be imported as `tensorrt`.

    Attributes:
        version: Version of TensorRT, for example `10.16.1.11`.
        paths: What a process needs on its PYTHONPATH beside the libraries.
        libraries: Folder of the stub libraries' package, for the PYTHONPATH; None to go without.
        library: The library of the bindings.
    """

    version: str
    paths: tuple[Path, ...]
    libraries: Path | None
    library: PlanEngine = "tensorrt"

    @property
    def interface(self) -> Path:
        """The file of tests/tensorrt_bindings/interfaces for this version."""
        prefix = "rtx-" if self.library == "tensorrt-rtx" else ""
        name = f"{prefix}{'.'.join(self.version.split('.')[:2])}.json"
        return ROOT / "tests" / "tensorrt_bindings" / "interfaces" / name

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Return what a Python with these bindings answers to its arguments and standard input."""
        paths = [*self.paths, *([self.libraries] if self.libraries else [])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        return subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def prepare(version: str, folder: Path) -> Bindings:
    """Return bindings over stubs that are compiled into `folder`, or skip the test with what is missing."""
    wheel = TARGET / version
    if not (wheel / "tensorrt_bindings").is_dir():
        leave_out(
            f"bindings of TensorRT {version} are not installed: run python tests/tensorrt_bindings/install_bindings.py"
        )
    compiler = require_tool(os.environ.get("CC", "cc"), package="gcc")
    front, libs = folder / "front" / "tensorrt", folder / "libs" / "tensorrt_libs"
    front.mkdir(parents=True)
    libs.mkdir(parents=True)
    (front / "__init__.py").write_text(FRONT_PACKAGE.format(bindings="tensorrt_bindings"))
    names = [f"lib{library}.so.{version.split('.')[0]}" for library in LIBRARIES]
    (libs / "__init__.py").write_text(LIBS_PACKAGE.format(libraries=names))
    for name in names:
        # The loader finds a library that is there already by its soname.
        flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}"]
        subprocess.run([compiler, *flags, "-o", str(libs / name), str(STUB)], check=True)
    return Bindings(version, (wheel, front.parent, ROOT), libs.parent)


def prepare_rtx(folder: Path) -> Bindings:
    """Return the bindings of TensorRT for RTX, whose own libraries are installed, or skip the test."""
    require_rtx()
    version = metadata.version("tensorrt-rtx-cu13-bindings")
    front = folder / "front" / "tensorrt"
    front.mkdir(parents=True)
    (front / "__init__.py").write_text(FRONT_PACKAGE.format(bindings=RTX_BINDINGS))
    return Bindings(version, (front.parent, ROOT), None, library="tensorrt-rtx")
