"""The C++ preprocessing for 64-bit ARM: cross-compiled, run in QEMU, and its instructions counted.

    python -m tests.helpers.cpp.arm64

prints how many instructions the plain and the NEON passes take for one image, by its pixels and filter. QEMU logs every
instruction that it executes, a line for each, so the image is small. What a program does besides (start, read, write)
is in two runs of different length alike, and is subtracted.
"""

import subprocess
from pathlib import Path

import numpy as np

from runtime.bundle.manifest import Colour
from tests.helpers.cpp.build import BUILDS
from tests.helpers.cpp.preprocess import Request, build_preprocess
from tests.helpers.tools import require_flags, require_tool

COMPILER = "aarch64-linux-gnu-g++"
QEMU = "qemu-aarch64-static"
# A processor of ARMv8.2, as in `make test-arm64`.
PROCESSOR = "cortex-a76"


def require_arm64() -> tuple[str, str]:
    """Return the paths of the cross-compiler and of QEMU; skip the test without one of them."""
    compiler = require_tool(COMPILER, package="g++-aarch64-linux-gnu")
    return compiler, require_tool(QEMU, package="qemu-user-static")


def build_for_arm64(folder: Path, *, sanitized: bool = False) -> Path:
    """Return a program that runs `preprocess_main` for 64-bit ARM in QEMU; skip the test without a tool.

    Args:
        folder: Where it is written.
        sanitized: Whether the first memory error, or the first undefined behaviour, ends it.
    """
    compiler, qemu = require_arm64()
    # Static: no library of another architecture is needed here. -O3 is what CMake's release build has.
    flags: tuple[str, ...] = ("-O3", "-static")
    environment, libraries = "", ""
    if sanitized:
        # The sanitizers' libraries are shared ones; leaks are looked for with ptrace, which QEMU does not have.
        flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        environment, libraries = "ASAN_OPTIONS=detect_leaks=0 ", "-L /usr/aarch64-linux-gnu "
    require_flags(compiler, flags, package="g++-aarch64-linux-gnu")
    program = build_preprocess(compiler, folder / "preprocess_main", *flags)
    runner = folder / "run"
    words = f'{environment}exec {qemu} -cpu {PROCESSOR} {libraries}{program} "$@"'
    runner.write_text(f"#!/bin/sh\n{words}\n", encoding="utf-8")
    runner.chmod(0o755)
    return runner


def count_instructions(runner: Path, path: str, request: Request) -> int:
    """Return how many instructions one preprocessing of an image takes.

    Args:
        runner: What `build_for_arm64` made.
        path: `plain` or `neon`.
        request: The image and its sizes.
    """
    program = runner.parent / "preprocess_main"
    return _executed(program, path, request, runs=2) - _executed(program, path, request, runs=1)


def _executed(program: Path, path: str, request: Request, *, runs: int) -> int:
    """Return how many instructions the whole program executes."""
    helped = subprocess.run([QEMU, "--help"], capture_output=True, text=True, check=True).stdout
    # Its name until QEMU 8.1, and since.
    single = "-one-insn-per-tb" if "-one-insn-per-tb" in helped else "-singlestep"
    words = [QEMU, "-cpu", PROCESSOR, single, "-d", "exec,nochain", str(program), path, "--time", str(runs)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(request.encode())
        process.stdin.close()
        # A line for each: "Trace 0: ...".
        executed = sum(block.count(b"Trace ") for block in iter(lambda: process.stderr.readline(), b""))
    assert process.returncode == 0
    return executed


def small_image(colour: Colour, *, bicubic: bool) -> Request:
    """Return an RGB image of 120x90 px that is resized to a short side of 50 and cropped to 48, as a network asks.

    Args:
        colour: Pillow's mode of the network's pixels.
        bicubic: Whether the filter is bicubic.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    return Request(pixels=pixels, resize=50, crop=48, bicubic=bicubic, colour=colour)


def main() -> None:
    """Print a table of instructions."""
    folder = BUILDS / "arm64"
    folder.mkdir(parents=True, exist_ok=True)
    runner = build_for_arm64(folder)
    print("| pixels | filter | plain | NEON | plain / NEON |\n|---|---|---|---|---|")
    colours: tuple[Colour, ...] = ("RGB", "L")
    for colour in colours:
        for bicubic in (False, True):
            request = small_image(colour, bicubic=bicubic)
            plain, neon = (count_instructions(runner, path, request) for path in ("plain", "neon"))
            filter_ = "bicubic" if bicubic else "bilinear"
            print(f"| {colour} | {filter_} | {plain:,} | {neon:,} | {plain / neon:.1f} |", flush=True)


if __name__ == "__main__":
    main()
