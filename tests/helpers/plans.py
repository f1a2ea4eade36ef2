"""A hand-made plan with its description, and machines to run it on, for tests that need no TensorRT."""

import dataclasses
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from runtime.bundle.layout import MODEL_FILE
from runtime.engines.trt.cuda_calls import CudaSystem, GpuDevice
from runtime.engines.trt.library import RTX
from runtime.engines.trt.machine import Machine
from runtime.engines.trt.versions import Version

A100 = "NVIDIA A100 80GB PCIe"
GIB = 1 << 30


def plan_bytes(version: tuple[int, int, int, int] = (10, 16, 1, 11), *, serialisation: int = 0) -> bytes:
    """Return a plan's header as NVIDIA's sampleEngines.cpp reads it, and bytes that stand for the engine."""
    between = bytes(range(101, 117))
    return b"ftrt" + struct.pack("<I", serialisation) + between + bytes(version) + b"engine" * 80


def sidecar_fields(bundle: Path, plan: bytes, **changes: Any) -> dict[str, Any]:
    """Return the description of a plan as JSON has it, written out here rather than by the project's own classes."""
    onnx = hashlib.sha256((bundle / MODEL_FILE).read_bytes()).hexdigest()
    options: dict[str, Any] = {
        "engine": "tensorrt",
        "profile": {"min": 1, "opt": 8, "max": 32},
        "workspace_mib": None,
        "optimization_level": 3,
        "version_compatible": False,
        "hardware_compatibility": "none",
        "compute_capabilities": [],
        "required_share": 1.0,
    }
    certificate: dict[str, Any] = {
        "required_share": 1.0,
        "kept": 0,
        "promised": 0,
        "macs_share": 1.0,
        "verdicts": [],
        "reformats": [],
        "unfused_qdq": [],
        "fp32_islands": [],
        "crossings": [],
    }
    fields: dict[str, Any] = {
        "schema_version": 1,
        "tensorrt": "10.16.1.11",
        "cuda_runtime": "13.0",
        "driver": "13.0",
        "gpu": A100,
        "compute_capability": "8.0",
        "platform": "linux-x86_64",
        "onnx_sha256": onnx,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "plan_bytes": len(plan),
        "build_seconds": 12.5,
        "device_memory_bytes": 1024,
        "timing_cache": "new",
        "certificate": certificate,
        "golden": {"logits_db": 110.0, "embedding_db": None, "required_db": 100.0, "same_top1": 2, "images": 2},
        "model": "tiny",
        "precision": "fp32",
        "licence": {"spdx": "MIT", "notice": "Do what you like.", "url": ""},
        "options": options,
        "built_at": "2026-11-24T12:00:00Z",
        "tool": "0.1.0",
    }
    options.update({key: changes.pop(key) for key in list(changes) if key in options})
    return {**fields, **changes}


def put_plan(bundle: Path, plan: bytes | None = None, **changes: Any) -> bytes:
    """Write a plan and its description into a bundle; `changes` replace fields of the description."""
    plan = plan_bytes() if plan is None else plan
    (bundle / "model.plan").write_bytes(plan)
    text = json.dumps(sidecar_fields(bundle, plan, **changes))
    (bundle / "model.plan.json").write_text(text, encoding="utf-8")
    return plan


def rtx_plan_bytes(version: tuple[int, int, int, int] = (1, 7, 1, 116)) -> bytes:
    """Return the beginning of a plan that TensorRT for RTX 1.7.1.116 built, but for the version, and more bytes."""
    return bytes.fromhex("767472740000000002000000000000002c0b020000000000") + bytes(version) + b"engine" * 80


def put_rtx_plan(bundle: Path, plan: bytes | None = None, **changes: Any) -> bytes:
    """Write a plan of TensorRT for RTX and its description into a bundle; see `put_plan`."""
    plan = rtx_plan_bytes() if plan is None else plan
    own = {"engine": "tensorrt-rtx", "tensorrt": "1.7.1.116", "gpu": "", "compute_capability": "", "golden": None}
    own |= {"cuda_runtime": "", "driver": ""}
    (bundle / "model.rtx.plan").write_bytes(plan)
    text = json.dumps(sidecar_fields(bundle, plan, **{**own, **changes}))
    (bundle / "model.rtx.plan.json").write_text(text, encoding="utf-8")
    return plan


def gpu(name: str = A100, compute_capability: str = "8.0") -> GpuDevice:
    """Return a GPU by name."""
    return GpuDevice(index=0, name=name, compute_capability=compute_capability, memory_bytes=80 * GIB)


def machine(version: str = "10.16.1.11", device: GpuDevice | None = None, *, platform: str = "linux-x86_64") -> Machine:
    """Return a machine with TensorRT, a driver and one GPU."""
    cuda = CudaSystem(driver="13.0", runtime="13.0", devices=(device or gpu(),), problem="")
    return Machine(Version(*map(int, version.split("."))), "", cuda, platform)


def rtx_machine(
    device: GpuDevice | None = None, *, version: str = "1.7.1.116", platform: str = "linux-x86_64"
) -> Machine:
    """Return a machine with TensorRT for RTX, a driver and one GPU."""
    return dataclasses.replace(machine(version, device, platform=platform), library=RTX)
