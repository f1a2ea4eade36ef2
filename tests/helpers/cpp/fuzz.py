"""Fuzzes the C library with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.helpers.cpp.fuzz [MANIFEST ...]

RNE_FUZZ_SECONDS (10) is the time of each target. An input that fails is kept under `build/cpp/fuzz`.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.helpers.cpp.build import BUILDS, SOURCE, locked
from tests.helpers.cpp.objects import build_program
from tests.helpers.paths import ROOT
from tests.helpers.tools import CLANG_RUNTIME, require_flags, require_tool

TARGETS = ("fuzz_manifest", "fuzz_image")
SECONDS = int(os.environ.get("RNE_FUZZ_SECONDS", "10"))
# What needs OpenVINO, onnxruntime or TensorRT; the files that stand in for them are built instead.
LEFT_OUT = (
    "backend_openvino.cpp",
    "openvino_floats.cpp",
    "openvino_unsigned.cpp",
    "backend_onnxruntime.cpp",
    "onnxruntime_",
    "backend_tensorrt.cpp",
    "tensorrt_",
)
# nlohmann-json's parser keeps its stack on the heap, so a long nest is fine; libFuzzer's own limit would hide it.
LONGEST_BYTES = 65536
# Not `leak` on top: AddressSanitizer has it. float-cast-overflow is not in `undefined`, and was a fault here.
SANITIZERS = "fuzzer,address,undefined,float-cast-overflow"


def library_sources() -> list[Path]:
    """Return the library's files for a build without any back end."""
    return sorted(path for path in (SOURCE / "src").glob("*.cpp") if not path.name.startswith(LEFT_OUT))


def require_fuzzer() -> None:
    """Skip the test where clang is absent, or the run-time libraries that its fuzzer is linked with."""
    compiler = require_tool("clang++", package=f"clang {CLANG_RUNTIME}")
    require_flags(compiler, [f"-fsanitize={SANITIZERS}"], package=CLANG_RUNTIME, program=_EMPTY_TARGET)


def build(target: str) -> Path:
    """Return a target's program; the targets share the library's objects."""
    program = BUILDS / "fuzz" / target
    files = [SOURCE / "fuzz" / f"{target}.cpp", *library_sources()]
    flags = ["-std=c++17", "-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZERS}"]
    flags += ["-fno-sanitize-recover=all"]
    with locked():
        program.parent.mkdir(exist_ok=True)
        build_program("clang++", program, files, *flags, f"-I{SOURCE / 'include'}", f"-I{SOURCE / 'src'}")
    return program


def write_seeds(folder: Path, target: str, manifests: Iterable[bytes]) -> None:
    """Write what the fuzzer begins with: real manifests, a sidecar and a .npy header; usual sizes of images."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if target == "fuzz_manifest":
        seeds = [*manifests, SIDECAR, _NPY]
    else:
        # Sizes lie in the upper 28 bits; a lowest hexadecimal digit of 1 says so.
        seeds = [
            struct.pack("<13I", resize << 4 | 1, 0, crop << 4 | 1, 0, 0, bicubic, colour, width << 4 | 1,
                        height << 4 | 1, kind, padding << 4 | 1, 1, 0x01020304)
            for resize, crop, bicubic, colour, width, height, kind, padding in (
                (256, 224, 0, 0, 500, 375, 0, 0), (73, 64, 1, 1, 90, 200, 1, 3), (64, 64, 0, 2, 64, 64, 2, 0),
                (9, 1, 1, 2, 1, 511, 0, 1),
            )
        ]  # fmt: skip
    for number, seed in enumerate(seeds):
        (folder / str(number)).write_bytes(seed)


def fuzz(target: str, manifests: Sequence[bytes], seconds: int = SECONDS) -> str:
    """Build and run a target, and return the end of what it printed.

    Raises:
        AssertionError: An input made it fail; its file is named.
    """
    program = build(target)
    corpus = BUILDS / "fuzz" / f"{target}-corpus"
    write_seeds(corpus, target, manifests)
    # The peak of resident memory that libFuzzer would limit begins at this process's own: a child inherits it.
    memory = ("-rss_limit_mb=0", "-malloc_limit_mb=1024")
    limits = (f"-max_total_time={seconds}", f"-max_len={LONGEST_BYTES}", "-timeout=10", *memory)
    artefacts = f"-artifact_prefix={BUILDS / 'fuzz'}/{target}-"
    words = [str(program), *limits, artefacts, "-print_final_stats=1", str(corpus)]
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1", "ASAN_OPTIONS": "allocator_may_return_null=1"}
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, env=environment)
    assert done.returncode == 0, f"{target} failed:\n{done.stderr[-6000:]}"
    return done.stderr[-1000:]


SIDECAR = (
    b'{"schema_version": 1, "tensorrt": "10.16.1.11", "gpu": "NVIDIA A100", "compute_capability": "8.0", "platform": '
    b'"linux-x86_64", "onnx_sha256": "00", "plan_sha256": "00", "plan_bytes": 1, "options": {"profile": {"min": 1, '
    b'"opt": 8, "max": 32}, "version_compatible": false, "hardware_compatibility": "none"}}'
)
_EMPTY_TARGET = """#include <cstddef>
#include <cstdint>
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *, size_t) { return 0; }
"""
_NPY = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".ljust(117)
    + b"\n"
    + bytes(24)
)


def main() -> None:
    """Fuzz every target for RNE_FUZZ_SECONDS."""
    if shutil.which("clang++") is None:
        sys.exit(f"error: clang++ not found: apt-get install clang {CLANG_RUNTIME}")
    manifests = [Path(word).read_bytes() for word in sys.argv[1:]]
    for target in TARGETS:
        print(f"{target}, {SECONDS} s in {(BUILDS / 'fuzz').relative_to(ROOT)}")
        print(fuzz(target, manifests))


if __name__ == "__main__":
    main()
