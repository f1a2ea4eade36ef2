"""The plan file: TensorRT's real header of 32 bytes, then what the stand-in needs to run the network."""

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

from tensorrt._interface import API, RTX

MAGIC = b"vtrt" if RTX else b"ftrt"
HEADER_BYTES = 32
VERSION = tuple(int(part) % 256 for part in API["version"].split("."))


class PlanError(Exception):
    """Bytes that are no plan, or a damaged one."""


@dataclass(frozen=True)
class Plan:
    """What a build fixes.

    Attributes:
        version: major, minor, patch and build of the builder, each modulo 256.
        gpu: Name of the GPU it was built on.
        capability: Compute capability of the GPU.
        hardware: Name of the hardware compatibility level.
        portable: Built with VERSION_COMPATIBLE.
        verbosity: Name of the profiling verbosity.
        profiles: Per optimization profile: input name to min, opt and max shape.
        workspace: Limit of the scratch memory in bytes.
        layers: The inspector's layers, detailed.
        io: Names of inputs and outputs.
        model: The ONNX file.
        named: Compute capabilities that TensorRT for RTX was given, such as 86; none for its own choice.
    """

    gpu: str
    capability: list[int]
    hardware: str
    portable: bool
    verbosity: str
    profiles: list[dict[str, list[list[int]]]]
    workspace: int
    layers: list[dict[str, Any]]
    io: list[str]
    model: bytes
    version: tuple[int, ...] = VERSION
    named: tuple[int, ...] = ()


def write_plan(plan: Plan) -> bytes:
    """Return a plan's bytes: 0-3 "ftrt" or "vtrt", 8-15 payload size, 16-19 its CRC, 24-27 the version."""
    fields = {name: value for name, value in asdict(plan).items() if name not in ("model", "version")}
    text = json.dumps(fields).encode()
    payload = struct.pack("<Q", len(text)) + text + plan.model
    numbers = (*plan.version, 0, 0, 0, 0)[:4]
    return struct.pack("<4sIQII4B4x", MAGIC, 0, len(payload), zlib.crc32(payload), 0, *numbers) + payload


def read_plan(data: bytes) -> Plan:
    """Return the plan in `data`.

    Raises:
        PlanError: No plan, a truncated one, or one whose checksum differs.
    """
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        raise PlanError("magicTag == kMAGIC_TAG failed: the file is not a TensorRT plan")
    _, _, size, checksum, _, *numbers = struct.unpack("<4sIQII4B4x", data[:HEADER_BYTES])
    payload = data[HEADER_BYTES:]
    if len(payload) != size or zlib.crc32(payload) != checksum:
        raise PlanError("Serialization assertion plan->header.size == blobSize failed")
    (length,) = struct.unpack("<Q", payload[:8])
    fields = json.loads(payload[8 : 8 + length])
    return Plan(**fields, model=payload[8 + length :], version=tuple(numbers))
