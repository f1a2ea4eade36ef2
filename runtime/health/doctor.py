"""What a machine can run, what is missing for the rest, and whether a bundle fits it.

Nothing is loaded that could take the process down: TensorRT's module is imported and asked for its version
only, and CUDA is asked through cuda-python before anything else is.
"""

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.layout import PLAN_FILE
from runtime.bundle.licence import check_licence
from runtime.bundle.plan_json import read_sidecar
from runtime.engines.open_engine import installed_engines
from runtime.engines.trt.machine import Machine, find_machine
from runtime.engines.trt.preflight import check_plan_file, find_mismatch, read_plan
from runtime.errors import EngineError, ExportSslError
from runtime.support.cpu import (
    BF16_ARITHMETIC,
    INT8_DOT_PRODUCTS,
    cpu_flags,
    fast_instructions,
    read_cpuinfo,
    usable_cores,
)
from runtime.support.engine_names import DISTRIBUTIONS
from runtime.support.installed import installed_versions

# `missing` is no fault: a machine need not have everything.
Verdict = Literal["ok", "missing", "bad"]
_MIB = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Name of what was looked at.
        verdict: Whether it is as it should be.
        text: What was found, and the next step where it is not.
    """

    name: str
    verdict: Verdict
    text: str


def examine(bundle: Path | None = None) -> tuple[Finding, ...]:
    """Return what this machine has, and for a bundle whether it and its plan can run here. Never raises for a fault."""
    machine = find_machine()
    found = [
        Finding("Python", "ok", f"{platform.python_version()}, {machine.platform}, {sys.executable}"),
        _cpu(),
        *_nvidia(machine),
        _onnxruntime(),
        _openvino(),
        _pytorch(),
        _engines(machine),
    ]
    if bundle is not None:
        found += _bundle(bundle, machine)
    return tuple(found)


def _cpu() -> Finding:
    flags = cpu_flags(read_cpuinfo())
    fast = fast_instructions(flags)
    notes = []
    if flags and not INT8_DOT_PRODUCTS & flags:
        notes.append("no INT8 dot products: INT8 bundles will hardly be faster than FP32 on this CPU")
    if BF16_ARITHMETIC & flags:
        notes.append("has bf16: `--engines openvino:bf16` is faster than FP32 and less exact")
    instructions = ", ".join(fast) or ("none that speed up inference" if flags else "not known on this system")
    return Finding("CPU", "ok", "; ".join([f"{usable_cores()} usable cores, instructions {instructions}", *notes]))


def _nvidia(machine: Machine) -> list[Finding]:
    cuda = machine.cuda
    found = []
    if cuda.driver:
        found.append(Finding("NVIDIA driver", "ok", f"supports CUDA up to {cuda.driver}"))
    elif cuda.runtime:
        found.append(Finding("NVIDIA driver", "missing", cuda.problem))
    if cuda.runtime:
        found.append(_cuda_runtime(cuda.runtime, cuda.driver))
    else:
        found.append(Finding("cuda-python", "missing", cuda.problem))
    for device in cuda.devices:
        memory = f"{device.memory_bytes // _MIB:,} MiB"
        text = f"{device.name}, compute capability {device.compute_capability}, {memory}"
        found.append(Finding(f"GPU {device.index}", "ok", text))
    if cuda.driver and not cuda.devices:
        found.append(Finding("GPU", "bad", cuda.problem))
    if machine.tensorrt_problem:
        found.append(Finding("TensorRT", "bad" if machine.tensorrt else "missing", machine.tensorrt_problem))
    else:
        found.append(Finding("TensorRT", "ok", str(machine.tensorrt)))
    return found


def _cuda_runtime(runtime: str, driver: str) -> Finding:
    """A newer runtime than the driver works within one major version, and not beyond it."""
    if driver and int(runtime.partition(".")[0]) > int(driver.partition(".")[0]):
        text = f"{runtime}, newer than the driver's {driver}: update the driver, or install 'export-ssl[gpu-cu12]'"
        return Finding("cuda-python", "bad", text)
    return Finding("cuda-python", "ok", f"CUDA runtime {runtime}")


def _onnxruntime() -> Finding:
    from runtime.engines.ort_session import import_onnxruntime

    versions = installed_versions(DISTRIBUTIONS["onnxruntime"])
    if not versions:
        return Finding("onnxruntime", "missing", "not installed: pip install 'export-ssl[cpu]' or 'export-ssl[gpu]'")
    try:
        ort = import_onnxruntime()
    except EngineError as error:
        return Finding("onnxruntime", "bad", str(error))
    return Finding("onnxruntime", "ok", f"{ort.__version__}, providers {', '.join(ort.get_available_providers())}")


def _openvino() -> Finding:
    if not installed_versions(DISTRIBUTIONS["openvino"]):
        return Finding("OpenVINO", "missing", "not installed: pip install 'export-ssl[cpu]'")
    try:
        import openvino
    except (ImportError, OSError) as error:
        return Finding("OpenVINO", "bad", f"cannot be imported ({error}): reinstall it")
    core = openvino.Core()
    devices = [f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices]
    return Finding(
        "OpenVINO", "ok", f"{openvino.__version__.partition('-')[0]}, devices {', '.join(devices) or 'none'}"
    )


def _pytorch() -> Finding:
    versions = installed_versions(DISTRIBUTIONS["pytorch"])
    if not versions:
        text = "not installed; only the comparison with the original needs it: pip install 'export-ssl[export,cpu]'"
        return Finding("PyTorch", "missing", text)
    # Not imported: that takes seconds, and its CUDA is not what the engines here use.
    return Finding("PyTorch", "ok", ", ".join(versions.values()))


def _engines(machine: Machine) -> Finding:
    usable = (() if machine.problem else ("tensorrt",)) + installed_engines()
    if not usable:
        return Finding("engines", "bad", "none can run here: pip install 'export-ssl[cpu]', or see TensorRT above")
    return Finding("engines", "ok", ", ".join(usable))


def _bundle(path: Path, machine: Machine) -> list[Finding]:
    try:
        bundle = open_bundle(path)
        check_licence(bundle)
    except ExportSslError as error:
        return [Finding("bundle", "bad", str(error))]
    manifest = bundle.manifest
    text = f"{path}: {manifest.model.name}, {manifest.precision.name}, licence {manifest.licence.spdx}, hashes right"
    return [Finding("bundle", "ok", text), _plan(bundle, machine)]


def _plan(bundle: Bundle, machine: Machine) -> Finding:
    if not (bundle.path / PLAN_FILE).is_file():
        if machine.problem:
            return Finding("plan", "missing", "none, and none is needed: this machine cannot run TensorRT")
        return Finding("plan", "missing", f"none: build one with `run-ssl build {bundle.path}`")
    try:
        plan = read_plan(bundle)
        sidecar = read_sidecar(bundle.path)
        check_plan_file(bundle, plan, sidecar)
    except ExportSslError as error:
        return Finding("plan", "bad", str(error))
    what = f"TensorRT {sidecar.tensorrt}, {sidecar.gpu}, batch {sidecar.options.profile}"
    if machine.problem:
        return Finding("plan", "missing", f"undamaged, for {what}; it cannot run here: {machine.problem}")
    mismatch = find_mismatch(sidecar, machine)
    if mismatch:
        return Finding("plan", "bad", f"{mismatch}: build it again with `run-ssl build {bundle.path}`")
    return Finding("plan", "ok", what)
