"""Builds and talks to `preprocess_main`, the C++ preprocessing as a program of its own."""

import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.bundle.manifest import Colour
from tests.helpers.cpp.objects import build_program
from tests.helpers.paths import CPP
from tests.helpers.tools import require_tool

Array = npt.NDArray[np.uint8]

SOURCES = (
    "src/coefficients.cpp",
    "src/preprocess.cpp",
    "src/resample.cpp",
    "src/resample_neon.cpp",
    "src/resample_reference.cpp",
    "src/resample_x86.cpp",
    "tests/preprocess_main.cpp",
)
# The values of rne_pixel_format, by the number of bytes of a pixel.
FORMATS = {3: 0, 1: 1, 4: 2}
# Exit code of the program where the processor lacks the instructions.
LACKS_INSTRUCTIONS = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """One image and what is to become of it.

    Attributes:
        pixels: (H, W, 1), (H, W, 3) or (H, W, 4) uint8.
        resize: Short side after the resize, or (height, width), pixels.
        crop: Side of the square crop, or (height, width), pixels.
        bicubic: Whether the filter is bicubic.
        padding: Bytes between the end of a row and the next row.
        mode: The resize mode, a value of rne_resize_mode.
        colour: Pillow's mode of the pixels that are wanted.
    """

    pixels: Array
    resize: int | tuple[int, int]
    crop: int | tuple[int, int]
    bicubic: bool = False
    padding: int = 0
    mode: int = 0
    colour: Colour = "RGB"

    def encode(self) -> bytes:
        """Return the bytes that the program reads; the last row has no padding behind it."""
        height, width, step = self.pixels.shape
        rows = np.full((height, width * step + self.padding), 0xA5, np.uint8)
        rows[:, : width * step] = self.pixels.reshape(height, width * step)
        data = rows.tobytes()[: rows.size - self.padding]
        lengths = (*sides(self.resize), *sides(self.crop))
        fields = (
            width,
            height,
            rows.shape[1],
            FORMATS[step],
            *lengths,
            int(self.bicubic),
            self.mode,
            FORMATS[len(self.colour)],
        )
        return encode_fields(fields, data)


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width)."""
    return (size, size) if isinstance(size, int) else size


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: An rne_status; 0 is success.
        allocations: How often `run` took memory.
        payload: The pixels, or the error's message.
    """

    status: int
    allocations: int
    payload: bytes


def encode_fields(fields: Sequence[int], data: bytes) -> bytes:
    """Return a request from its raw fields and the bytes.

    The fields are width, height, stride, format, height and width of resize and of crop, bicubic, mode, colour.
    """
    return struct.pack("<11IQ", *fields, len(data)) + data


def require_compiler() -> str:
    """Return a C++ compiler's path, the one that CXX names, or c++; skip the test without either."""
    return require_tool(os.environ.get("CXX", "c++"), package="g++")


def build_preprocess(compiler: str, program: Path, *flags: str) -> Path:
    """Return the program's path after building it there."""
    include = (f"-I{CPP / 'include'}", f"-I{CPP / 'src'}")
    return build_program(compiler, program, [CPP / source for source in SOURCES], "-std=c++17", *flags, *include)


def answer_requests(program: Path, path: str, requests: Sequence[bytes]) -> list[Answer]:
    """Return the program's answers, one per request.

    Args:
        program: What `build_preprocess` made.
        path: `best`, `avx2`, `sse41`, `plain` or `reference`.
        requests: Encoded requests.

    Raises:
        CalledProcessError: The program failed; exit code 3: this processor lacks the instructions.
    """
    done = subprocess.run([str(program), path], input=b"".join(requests), capture_output=True, check=False)
    if done.returncode != 0:
        raise subprocess.CalledProcessError(
            done.returncode, done.args, done.stdout[:0], done.stderr.decode(errors="replace")
        )
    answers = list(_decode(done.stdout))
    if len(answers) != len(requests):
        raise ValueError(f"{len(answers)} answers came back, expected {len(requests)}: {done.stderr!r}")
    return answers


def _decode(stream: bytes) -> Iterator[Answer]:
    at = 0
    while at < len(stream):
        status, allocations, count = struct.unpack_from("<IIQ", stream, at)
        at += 16
        yield Answer(status, allocations, stream[at : at + count])
        at += count
