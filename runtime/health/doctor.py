"""What a machine can run, what is missing for the rest, and whether a bundle fits it.

Nothing is loaded that could take the process down: the modules of TensorRT and of TensorRT for RTX are imported and
asked for their versions only, and CUDA is asked through cuda-python before anything else is.
"""

import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.bundle.bundle import Bundle, open_bundle
from runtime.bundle.licence import check_licence
from runtime.bundle.plan_json import build_command, read_sidecar
from runtime.engines.open_engine import installed_engines
from runtime.engines.openvino_package import import_openvino
from runtime.engines.trt.capabilities import describe_capabilities
from runtime.engines.trt.library import RTX, TENSORRT
from runtime.engines.trt.machine import Machine, find_machine
from runtime.engines.trt.preflight import check_plan_file, find_mismatch, read_plan
from runtime.errors import EngineError, ExportSslError
from runtime.support.cpu import (
    BF16_ARITHMETIC,
    FP16_ARITHMETIC,
    INT8_DOT_PRODUCTS,
    cpu_flags,
    fast_instructions,
    is_arm64,
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
    machine, rtx = find_machine(), find_machine(RTX)
    found = [
        Finding("Python", "ok", f"{platform.python_version()}, {machine.platform}, {sys.executable}"),
        _cpu(),
        *_nvidia(machine),
        _library(machine),
        _library(rtx),
        _onnxruntime(),
        _openvino(),
        _pytorch(),
        _engines((machine, rtx)),
    ]
    if bundle is not None:
        found += _bundle(bundle, machine, rtx)
    return tuple(found)


def _cpu() -> Finding:
    flags = cpu_flags(read_cpuinfo())
    fast = fast_instructions(flags)
    notes = []
    if flags and not INT8_DOT_PRODUCTS & flags:
        notes.append("no INT8 dot products: INT8 bundles will hardly be faster than FP32 on this CPU")
    if BF16_ARITHMETIC & flags:
        notes.append("has bf16: `--engines openvino:bf16` is faster than FP32 and less exact")
    if FP16_ARITHMETIC & flags:
        notes.append("has FP16 arithmetic: onnxruntime adds up in FP16, and `onnxruntime:fp32` does not")
    if is_arm64():
        notes.append("INT8 bundles: of `--int8-target cpu` onnxruntime runs all layers in integers, OpenVINO none")
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
    return found


def _library(machine: Machine) -> Finding:
    """Return which version is there, and where it can only build, why no plan runs."""
    label = machine.library.label
    if machine.tensorrt_problem:
        return Finding(label, "bad" if machine.tensorrt else "missing", machine.tensorrt_problem)
    if machine.problem and not machine.library.builds_on_gpu:
        return Finding(label, "ok", f"{machine.tensorrt}, builds plans and runs none here: {machine.problem}")
    return Finding(label, "ok", str(machine.tensorrt))


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
        openvino = import_openvino()
    except (EngineError, OSError) as error:
        return Finding("OpenVINO", "bad", str(error))
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


def _engines(machines: tuple[Machine, ...]) -> Finding:
    usable = tuple(machine.library.engine for machine in machines if not machine.problem) + installed_engines()
    if not usable:
        return Finding("engines", "bad", "none can run here: pip install 'export-ssl[cpu]', or see TensorRT above")
    return Finding("engines", "ok", ", ".join(usable))


def _bundle(path: Path, machine: Machine, rtx: Machine) -> list[Finding]:
    try:
        bundle = open_bundle(path)
        check_licence(bundle)
    except ExportSslError as error:
        return [Finding("bundle", "bad", str(error))]
    manifest = bundle.manifest
    text = f"{path}: {manifest.model.name}, {manifest.precision.name}, licence {manifest.licence.spdx}, hashes right"
    found = [Finding("bundle", "ok", text), _plan(bundle, machine)]
    # Few bundles have the other kind, and most machines have no use for it.
    if (path / RTX.files.plan).exists() or not rtx.problem:
        found.append(_plan(bundle, rtx))
    return found


def _plan(bundle: Bundle, machine: Machine) -> Finding:
    library = machine.library
    name = "plan" if library is TENSORRT else "plan for RTX"
    build = build_command(bundle.path, library.engine)
    if not (bundle.path / library.files.plan).is_file():
        if machine.problem:
            return Finding(name, "missing", f"none, and none is needed: this machine cannot run {library.label}")
        return Finding(name, "missing", f"none: build one with `{build}`")
    try:
        plan = read_plan(bundle, library)
        sidecar = read_sidecar(bundle.path, library.engine)
        check_plan_file(bundle, plan, sidecar, library)
    except ExportSslError as error:
        return Finding(name, "bad", str(error))
    gpu = sidecar.gpu or describe_capabilities(sidecar.options.compute_capabilities)
    what = f"{library.label} {sidecar.tensorrt}, {gpu}, batch {sidecar.options.profile}"
    if machine.problem:
        return Finding(name, "missing", f"undamaged, for {what}; it cannot run here: {machine.problem}")
    mismatch = find_mismatch(sidecar, machine)
    if mismatch:
        return Finding(name, "bad", f"{mismatch}: build it again with `{build}`")
    return Finding(name, "ok", what)
