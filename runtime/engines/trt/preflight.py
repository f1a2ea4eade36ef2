"""Before a plan is loaded: is it whole, and was it built for this network, this library and this GPU?

The libraries say most of this late, in their logs, or by crashing. Here every case is one sentence that ends in
the command that mends it.
"""

import hashlib
from dataclasses import dataclass

from runtime.bundle.bundle import Bundle
from runtime.bundle.layout import MODEL_FILE
from runtime.bundle.manifest import FileEntry
from runtime.bundle.plan_json import Sidecar, build_command, read_sidecar, rebuild_command
from runtime.engines.trt.capabilities import describe_capabilities, is_among
from runtime.engines.trt.library import LIBRARIES, TENSORRT, Library
from runtime.engines.trt.machine import Machine
from runtime.engines.trt.plan_header import read_plan_header
from runtime.engines.trt.versions import Version, parse_version
from runtime.errors import BundleError, EngineError
from runtime.support.files import read_plain

# Lowest compute capability that `ampere+` plans run on.
_AMPERE = (8, 0)
_PLATFORMS_OF_RTX = ("linux-x86_64", "win32-amd64")


@dataclass(frozen=True)
class CheckedPlan:
    """A plan that may be loaded here.

    Attributes:
        plan: Bytes of the plan.
        sidecar: What it is.
    """

    plan: bytes
    sidecar: Sidecar


def check_plan(bundle: Bundle, machine: Machine) -> CheckedPlan:
    """Return a bundle's plan if it can run on this machine.

    Raises:
        EngineError: This machine has no such library, no driver or no GPU, or the plan is for another one.
        BundleError: There is no plan, or it is damaged, or of another network.
    """
    library = machine.library
    plan = read_plan(bundle, library)
    if machine.problem:
        raise EngineError(machine.problem)
    sidecar = read_sidecar(bundle.path, library.engine)
    check_plan_file(bundle, plan, sidecar, library)
    problem = find_mismatch(sidecar, machine)
    if problem:
        raise EngineError(
            f"{bundle.path / library.files.plan} {problem}: {rebuild_command(bundle.path, library.engine)}"
        )
    return CheckedPlan(plan, sidecar)


def read_plan(bundle: Bundle, library: Library = TENSORRT) -> bytes:
    """Return the bytes of a bundle's plan for a library, whatever they are.

    Raises:
        BundleError: There is no plan, or it is not a plain file.
    """
    file = bundle.path / library.files.plan
    try:
        inside = file.resolve().is_relative_to(bundle.path.resolve())
    except (OSError, RuntimeError):
        # Links in a circle; before Python 3.13 that is a RuntimeError.
        inside = False
    if not inside:
        raise BundleError(f"{file} leads out of the bundle: expected a plain file")
    try:
        return read_plain(file, most_bytes=None)
    except FileNotFoundError as error:
        raise BundleError(_no_plan(bundle, library)) from error
    except OSError as error:
        raise BundleError(
            f"{file} cannot be read ({error.strerror}): expected a plain file that you may read"
        ) from error


def _no_plan(bundle: Bundle, library: Library) -> str:
    """Return that a bundle has no plan for a library, and that it has another's where it does."""
    where = " on this machine" if library.builds_on_gpu else ""
    build = f"build one{where} with `{build_command(bundle.path, library.engine)}`"
    for other in LIBRARIES.values():
        if other is not library and (bundle.path / other.files.plan).is_file():
            return (
                f"{bundle.path} has no {library.files.plan}, only {other.files.plan}, which {other.label} alone loads: "
                f"{build}"
            )
    return f"{bundle.path} has no {library.files.plan}: {build}"


def check_plan_file(bundle: Bundle, plan: bytes, sidecar: Sidecar, library: Library = TENSORRT) -> None:
    """Refuse a plan that is damaged, changed, of another library or of another network.

    Raises:
        BundleError: The plan is damaged, changed or of another network; the message says which.
    """
    file, rebuild = bundle.path / library.files.plan, rebuild_command(bundle.path, library.engine)
    version = read_plan_header(plan, name=str(file), library=library)
    if len(plan) != sidecar.plan_bytes:
        short = "truncated" if len(plan) < sidecar.plan_bytes else "changed"
        raise BundleError(f"{file} has {len(plan)} bytes, {sidecar.plan_bytes} were built: it is {short}; {rebuild}")
    if hashlib.sha256(plan).hexdigest() != sidecar.plan_sha256:
        raise BundleError(f"{file} was changed after it was built (its sha256 differs): {rebuild}")
    onnx = _model_entry(bundle)
    if onnx.sha256 != sidecar.onnx_sha256:
        raise BundleError(
            f"{file} was built from another {MODEL_FILE} (sha256 {sidecar.onnx_sha256[:12]}…, the bundle's is "
            f"{onnx.sha256[:12]}…): {rebuild}"
        )
    if version[:3] != parse_version(sidecar.tensorrt)[:3]:
        raise BundleError(
            f"{file} says {library.label} {version}, but {library.files.sidecar} says {sidecar.tensorrt}: {rebuild}"
        )
    if sidecar.options.engine != library.engine:
        raise BundleError(
            f"{bundle.path / library.files.sidecar} describes a plan of {LIBRARIES[sidecar.options.engine].label}, not "
            f"of {library.label}: {rebuild}"
        )


def find_mismatch(sidecar: Sidecar, machine: Machine) -> str:
    """Return why a plan cannot run on a machine without a problem of its own, as the end of a sentence, or ''."""
    assert machine.tensorrt is not None
    assert machine.device is not None
    if machine.library.compiles_at_load:
        return _mismatch_at_load(sidecar, machine.tensorrt, machine)
    if sidecar.platform != machine.platform:
        return f"was built on {sidecar.platform}, this is {machine.platform}"
    version = _version_mismatch(sidecar, machine.tensorrt)
    if version:
        return version
    device, level = machine.device, sidecar.options.hardware_compatibility
    built_for = f"{sidecar.gpu} (compute capability {sidecar.compute_capability})"
    here = f"{device.name} (compute capability {device.compute_capability})"
    if level == "none" and (device.name, device.compute_capability) != (sidecar.gpu, sidecar.compute_capability):
        return f"was built for {built_for}, this is {here}"
    if level == "same-compute-capability" and device.compute_capability != sidecar.compute_capability:
        return f"was built for compute capability {sidecar.compute_capability}, this is {here}"
    if level == "ampere+" and _numbers(device.compute_capability) < _AMPERE:
        return f"was built for Ampere and later GPUs, compute capability 8.0, this is {here}"
    return ""


def _mismatch_at_load(sidecar: Sidecar, installed: Version, machine: Machine) -> str:
    """Return why a plan of TensorRT for RTX cannot run on a machine, or ''.

    Source: NVIDIA's "Engine Compatibility" for TensorRT for RTX: no plan runs in another release of it.
    """
    label, built, device = machine.library.label, parse_version(sidecar.tensorrt), machine.device
    assert device is not None
    if machine.platform not in _PLATFORMS_OF_RTX:
        return f"runs on {' and '.join(_PLATFORMS_OF_RTX)}, this is {machine.platform}"
    if built[:3] != installed[:3]:
        return f"was built by {label} {built}, this is {installed}"
    if not is_among(device.compute_capability, sidecar.options.compute_capabilities):
        number = device.compute_capability.replace(".", "")
        return (
            f"is for {describe_capabilities(sidecar.options.compute_capabilities)}, this is {device.name} (compute "
            f"capability {device.compute_capability}), which `--compute-capability {number}` names"
        )
    return ""


def _version_mismatch(sidecar: Sidecar, installed: Version) -> str:
    """Return why another TensorRT cannot load a plan, or ''.

    Source: TensorRT's support matrix, engine portability: a version-compatible plan runs in later runtimes of its
    major version, and one of 10 in 11; no plan runs in an earlier runtime.
    """
    built = parse_version(sidecar.tensorrt)
    if built[:3] == installed[:3]:
        return ""
    if not sidecar.options.version_compatible:
        return f"was built by TensorRT {built}, this is {installed}"
    if installed < built:
        return f"was built by TensorRT {built}, this is {installed}, and a plan never runs in an earlier version"
    if installed.major not in (built.major, built.major + 1):
        return f"was built by TensorRT {built}, this is {installed}, too far from it even for a version-compatible plan"
    return ""


def _model_entry(bundle: Bundle) -> FileEntry:
    return next(entry for entry in bundle.manifest.files if entry.path == MODEL_FILE)


def _numbers(compute_capability: str) -> tuple[int, ...]:
    return tuple(int(number) for number in compute_capability.split("."))
