"""The C++ back end of TensorRT over a stand-in of CUDA and libnvinfer, and its plan checks against Python's sentences.

Needs a C++ compiler (CXX, or c++) and nlohmann-json. Where RNE_TENSORRT_INCLUDE names folders with NVIDIA's headers,
joined as in PATH, the back end is compiled against each; CUDA's come from RNE_CUDA_INCLUDE or a Python package.
"""

import dataclasses
import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle.bundle import open_bundle
from runtime.engines.trt.library import LIBRARIES
from runtime.engines.trt.preflight import check_plan
from runtime.errors import BundleError, EngineError, ExportSslError
from runtime.support.engine_names import PlanEngine
from tests.helpers.bundles import write_hand_made
from tests.helpers.cpp.preprocess import require_compiler
from tests.helpers.cpp.tensorrt_backend import (
    BACKEND,
    STANDIN,
    build_plan_check,
    build_tests,
    check_syntax,
    names_of_tests,
)
from tests.helpers.plans import A100, gpu, machine, plan_bytes, put_plan, put_rtx_plan, rtx_plan_bytes
from tests.helpers.tools import require_flags

HEADERS = "RNE_TENSORRT_INCLUDE"
STATUSES = {BundleError: 2, EngineError: 4}


@pytest.fixture(scope="module")
def compiler() -> str:
    return require_compiler()


@pytest.fixture(scope="module")
def program(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tests(compiler, tmp_path_factory.mktemp("tensorrt"), major=10)


@pytest.fixture(scope="module")
def plan_check(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plan_check(compiler, tmp_path_factory.mktemp("plan_check"))


def run_test(program: Path, name: str) -> None:
    done = subprocess.run(
        [str(program), name, str(program.parent)], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("name", names_of_tests())
def test_cpp(program: Path, name: str) -> None:
    run_test(program, name)


def test_all_of_it_holds_with_headers_of_tensorrt_11(compiler: str, tmp_path: Path) -> None:
    program = build_tests(compiler, tmp_path, major=11)
    for name in names_of_tests():
        run_test(program, name)


def test_no_memory_error_and_no_undefined_behaviour_is_found(compiler: str, tmp_path: Path) -> None:
    flags = ["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    require_flags(compiler, flags, package="g++")
    program = build_tests(compiler, tmp_path, major=10, flags=flags)
    for name in names_of_tests():
        run_test(program, name)


def header_folders() -> list[str]:
    return [folder for folder in os.environ.get(HEADERS, "").split(os.pathsep) if folder]


def cuda_folder() -> str | None:
    """Return the folder with CUDA's headers."""
    named = os.environ.get("RNE_CUDA_INCLUDE")
    if named:
        return named
    package = importlib.util.find_spec("nvidia")
    roots = list(package.submodule_search_locations or []) if package else []
    found = [file.parent for root in roots for file in Path(root).glob("*/include/cuda_runtime_api.h")]
    found.append(Path("/usr/local/cuda/include"))
    # The compiler's part of CUDA is in a package of its own, which lies in the same folder.
    complete = [folder for folder in found if (folder / "crt" / "host_defines.h").exists()]
    return str(complete[0]) if complete else None


@pytest.mark.parametrize("source", ["src/tensorrt_library.cpp", "src/tensorrt_plan.cpp", "src/bundle.cpp"])
def test_backend_for_rtx_compiles_without_a_warning(compiler: str, source: str) -> None:
    """Against what stands in NVIDIA's documentation: the headers of its SDK are in no package."""
    check_syntax(compiler, source, "-DRNE_WITH_TENSORRT_RTX", "-DNV_TENSORRT_MAJOR=1", f"-I{STANDIN}")


@pytest.mark.skipif(not header_folders(), reason=f"{HEADERS} names no folder with NVIDIA's NvInferRuntime.h")
@pytest.mark.parametrize("headers", header_folders())
def test_backend_compiles_with_nvidias_headers_without_a_warning(compiler: str, headers: str) -> None:
    cuda = cuda_folder()
    if cuda is None:
        pytest.skip("RNE_CUDA_INCLUDE names no folder with CUDA's headers, and no package has them all")
    for source in BACKEND:
        check_syntax(compiler, source, "-DRNE_WITH_TENSORRT", "-isystem", headers, "-isystem", cuda)


def cut(bundle: Path) -> None:
    plan = put_plan(bundle)
    (bundle / "model.plan").write_bytes(plan[:-10])


def lengthen(bundle: Path) -> None:
    plan = put_plan(bundle)
    (bundle / "model.plan").write_bytes(plan + b"\0")


def change(bundle: Path) -> None:
    plan = put_plan(bundle)
    (bundle / "model.plan").write_bytes(plan[:-1] + b"?")


def given(plan: bytes | None = None, **changes: Any) -> Callable[[Path], object]:
    """Return what writes a plan that is as its description says."""
    size = {} if plan is None else {"plan_bytes": max(len(plan), 1)}
    return lambda bundle: put_plan(bundle, plan, **size, **changes)


def not_a_plan(beginning: bytes) -> Callable[[Path], object]:
    return given(beginning + bytes(60))


A100_HERE, T4, RTX_4090 = ("8.0", A100), ("7.5", "Tesla T4"), ("8.9", "NVIDIA GeForce RTX 4090")
HERE = ("10.16.1.11", *A100_HERE, "linux-x86_64")
CASES: dict[str, tuple[Callable[[Path], object], tuple[str, str, str, str]]] = {
    "fits": (given(), HERE),
    "another build number": (given(plan_bytes((10, 16, 1, 4))), ("10.16.1.99", *HERE[1:])),
    "no plan": (lambda _: None, HERE),
    "only rtx's": (lambda bundle: put_rtx_plan(bundle), HERE),
    "rtx's under its name": (given(rtx_plan_bytes()), HERE),
    "zip": (not_a_plan(b"PK\x03\x04"), HERE),
    "quote": (not_a_plan(b"it's"), HERE),
    "both quotes": (not_a_plan(b"'\"\\\n"), HERE),
    "high bytes": (not_a_plan(b"\xff\x00\x7f\t"), HERE),
    "wrapped": (given(b"\x02\0\0\0{}" + plan_bytes()), HERE),
    "wrapper that is no json": (given(b"\x03\0\0\0{,}" + plan_bytes()), HERE),
    "wrapper cut off": (given(b"\x40\0\0\0{" + bytes(8)), HERE),
    "header": (given(plan_bytes()[:20]), HERE),
    "serialisation": (given(plan_bytes(serialisation=3)), HERE),
    "cut": (cut, HERE),
    "longer": (lengthen, HERE),
    "changed": (change, HERE),
    "another network": (given(onnx_sha256="ab" * 32), HERE),
    "two versions": (given(plan_bytes((10, 9, 0, 34))), HERE),
    "platform": (given(), (*HERE[:3], "linux-aarch64")),
    "later version": (given(), ("11.4.0.2", *HERE[1:])),
    "compatible with a later version": (given(version_compatible=True), ("11.4.0.2", *HERE[1:])),
    "compatible but earlier": (given(version_compatible=True), ("10.9.0.34", *HERE[1:])),
    "compatible but too far": (given(version_compatible=True), ("12.0.0.1", *HERE[1:])),
    "another gpu": (given(), (HERE[0], *T4, HERE[3])),
    "ampere on ada": (given(hardware_compatibility="ampere+"), (HERE[0], *RTX_4090, HERE[3])),
    "ampere on turing": (given(hardware_compatibility="ampere+"), (HERE[0], *T4, HERE[3])),
    "ampere on blackwell": (given(hardware_compatibility="ampere+"), (HERE[0], "10.0", "NVIDIA GB200", HERE[3])),
    "capability": (given(hardware_compatibility="same-compute-capability"), (HERE[0], *RTX_4090, HERE[3])),
    "same capability": (
        given(hardware_compatibility="same-compute-capability"),
        (HERE[0], "8.0", "NVIDIA A100-SXM4-40GB", HERE[3]),
    ),
}


RTX_HERE = ("1.7.1.116", *RTX_4090, "linux-x86_64")


def given_rtx(plan: bytes | None = None, **changes: Any) -> Callable[[Path], object]:
    """Return what writes a plan of TensorRT for RTX that is as its description says."""
    size = {} if plan is None else {"plan_bytes": max(len(plan), 1)}
    return lambda bundle: put_rtx_plan(bundle, plan, **size, **changes)


RTX_CASES: dict[str, tuple[Callable[[Path], object], tuple[str, str, str, str]]] = {
    "fits": (given_rtx(), RTX_HERE),
    "fits on windows": (given_rtx(), (*RTX_HERE[:3], "win32-amd64")),
    "later gpu": (given_rtx(), (RTX_HERE[0], "13.0", "NVIDIA GeForce RTX 6090", RTX_HERE[3])),
    "no plan": (lambda _: None, RTX_HERE),
    "only tensorrt's": (given(), RTX_HERE),
    "tensorrt's under its name": (given_rtx(plan_bytes()), RTX_HERE),
    "zip": (given_rtx(b"PK" + bytes(60)), RTX_HERE),
    "header": (given_rtx(rtx_plan_bytes()[:20]), RTX_HERE),
    "serialisation": (given_rtx(rtx_plan_bytes()[:4] + b"\x03" + rtx_plan_bytes()[5:]), RTX_HERE),
    "two versions": (given_rtx(rtx_plan_bytes((1, 6, 0, 1))), RTX_HERE),
    "description of tensorrt's": (given_rtx(engine="tensorrt"), RTX_HERE),
    "another network": (given_rtx(onnx_sha256="ab" * 32), RTX_HERE),
    "platform": (given_rtx(), (*RTX_HERE[:3], "linux-aarch64")),
    "another release": (given_rtx(), ("1.8.0.3", *RTX_HERE[1:])),
    "another build number": (given_rtx(), ("1.7.1.9", *RTX_HERE[1:])),
    "turing": (given_rtx(), (RTX_HERE[0], *T4, RTX_HERE[3])),
    "turing named": (given_rtx(compute_capabilities=["7.5", "8.0"]), (RTX_HERE[0], *T4, RTX_HERE[3])),
    "one named": (given_rtx(compute_capabilities=["8.6"]), RTX_HERE),
    "several named": (given_rtx(compute_capabilities=["7.5", "8.0", "8.6", "12.1"]), RTX_HERE),
    "not supported": (given_rtx(), (RTX_HERE[0], "9.0", "NVIDIA H100", RTX_HERE[3])),
}


@pytest.mark.parametrize("case", CASES)
def test_cpp_says_of_a_plan_what_python_says(plan_check: Path, tmp_path: Path, case: str) -> None:
    compare(plan_check, tmp_path, "tensorrt", *CASES[case])


@pytest.mark.parametrize("case", RTX_CASES)
def test_cpp_says_of_a_plan_for_rtx_what_python_says(plan_check: Path, tmp_path: Path, case: str) -> None:
    compare(plan_check, tmp_path, "tensorrt-rtx", *RTX_CASES[case])


def compare(
    plan_check: Path,
    tmp_path: Path,
    engine: PlanEngine,
    prepare: Callable[[Path], object],
    here: tuple[str, str, str, str],
) -> None:
    """Let both say what they think of a plan on a machine."""
    version, capability, name, platform = here
    bundle = open_bundle(write_hand_made(tmp_path / "bundle"))
    prepare(bundle.path)
    expected = "0 "
    ours = dataclasses.replace(machine(version, gpu(name, capability), platform=platform), library=LIBRARIES[engine])
    try:
        check_plan(bundle, ours)
    except ExportSslError as error:
        expected = f"{STATUSES[type(error)]} {error}"
    command = [str(plan_check), engine, str(bundle.path), version, name, capability, platform]
    done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    assert done.stdout == expected
