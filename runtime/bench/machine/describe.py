"""What a benchmark was measured on, and whether two were measured on the same."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from runtime.bench.machine.gpu_state import GpuState, gpu_uuid, read_gpu_states
from runtime.bundle.results.bench_json import Gpu, Machine
from runtime.engines.trt.cuda_calls import GpuDevice, find_cuda
from runtime.engines.trt.machine import current_platform
from runtime.errors import EngineError
from runtime.support.cpu import cpu_flags, fast_instructions, read_cpuinfo, usable_cores
from runtime.support.installed import installed_versions
from runtime.support.words import listed

_CHECKOUT = Path(__file__).resolve().parents[3]
_GIT_TIMEOUT_S = 10
# Vendors in the firmware's tables that are hypervisors: on ARM nothing else tells. Not Amazon's, whose name bare
# metal has too. Source: systemd, src/basic/virt.c.
_HYPERVISORS = ("QEMU", "KVM", "OpenStack", "Google", "VMware", "innotek", "VirtualBox", "Xen", "Parallels", "Bochs")


def describe_machine(packages: tuple[str, ...] = (), root: Path = Path("/")) -> Machine:
    """Return this machine; what cannot be read is "" or, of a GPU's state, None.

    A GPU's clocks, temperature and slowdown are those of this moment: call it while the GPU is still warm.

    Args:
        packages: Distributions whose versions are recorded beside this project's own; absent ones are left out.
        root: The folder that holds Linux's `proc` and `sys`.
    """
    cpuinfo = read_cpuinfo(root)
    cuda = find_cuda()
    return Machine(
        cpu=_cpu_model(cpuinfo, root),
        instructions=fast_instructions(cpu_flags(cpuinfo)),
        cores=usable_cores(),
        governor=read_governor(root),
        memory_gb=_memory_gb(root),
        virtual=_hypervisor(cpuinfo, root),
        platform=current_platform(),
        gpus=describe_gpus(cuda.devices),
        driver=cuda.driver,
        python=platform.python_version(),
        versions=installed_versions(("export-ssl", *packages)),
        commit=find_commit(_CHECKOUT),
    )


def same_hardware(a: Machine, b: Machine) -> str:
    """Return in words what makes the figures of two machines incomparable; empty where nothing does."""
    if a.cpu != b.cpu:
        return f"processor {a.cpu} against {b.cpu}"
    if a.cores != b.cores:
        return f"{a.cores} usable cores against {b.cores}"
    if set(a.instructions) != set(b.instructions):
        # A hypervisor can hide them from one of two machines of the same model.
        return f"instruction sets {listed(a.instructions, none='none')} against {listed(b.instructions, none='none')}"
    gpus = tuple(tuple(gpu.name for gpu in machine.gpus) for machine in (a, b))
    if gpus[0] != gpus[1]:
        return f"GPU {listed(gpus[0], none='none')} against {listed(gpus[1], none='none')}"
    return ""


def describe_gpus(devices: tuple[GpuDevice, ...]) -> tuple[Gpu, ...]:
    """Return the GPUs by CUDA's numbers, with their state where nvidia-smi tells it."""
    states = read_gpu_states() if devices else {}
    return tuple(_gpu(device, states) for device in devices)


def read_governor(root: Path = Path("/")) -> str:
    """Return the frequency governor of the first core; "" where it cannot be read, as in most virtual machines."""
    return _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def find_commit(checkout: Path) -> str:
    """Return the commit that is checked out, 12 digits and `+` where tracked files differ from it.

    Args:
        checkout: A folder; "" is returned where it is not the top of a git checkout, or git does not answer.
    """
    # Git itself would find the checkout of another project that holds this one's virtual environment.
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return ""
    try:
        commit = _run(git, checkout, "rev-parse", "--short=12", "HEAD")
        changed = _run(git, checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+" if changed else commit


def _run(git: str, checkout: Path, *arguments: str) -> str:
    # Git's hooks set GIT_DIR and others, which would point it elsewhere.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [git, *arguments],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=_GIT_TIMEOUT_S,
    )
    return done.stdout.strip()


def _gpu(device: GpuDevice, states: dict[str, GpuState]) -> Gpu:
    try:
        state = states.get(gpu_uuid(device.index), GpuState()) if states else GpuState()
    except EngineError:
        # The state is worth less than the rest of the description.
        state = GpuState()
    return Gpu(
        name=device.name,
        compute_capability=device.compute_capability,
        memory_mb=round(device.memory_bytes / 1e6),
        clock_mhz=state.clock_mhz,
        max_clock_mhz=state.max_clock_mhz,
        temperature_c=state.temperature_c,
        throttling=state.throttling,
    )


def _cpu_model(cpuinfo: dict[str, str], root: Path) -> str:
    """Return the processor's model, such as `AMD EPYC 9B14` or, on ARM, `implementer 0x41 part 0xd40`."""
    name = cpuinfo.get("model name", "")
    if name and "hypervisor" in cpu_flags(cpuinfo) and "cpu family" in cpuinfo:
        # Hypervisors shorten the name, such as to `AMD EPYC`, which says nothing of the generation.
        return f"{name} (family {cpuinfo['cpu family']}, model {cpuinfo.get('model', '?')})"
    if not name and "CPU part" in cpuinfo:
        name = f"implementer {cpuinfo.get('CPU implementer', '?')} part {cpuinfo['CPU part']}"
        board = cpuinfo.get("Model") or _read(root / "sys/firmware/devicetree/base/model")
        return f"{board} ({name})" if board else name
    return name or platform.processor() or platform.machine()


def _memory_gb(root: Path) -> float:
    """Return main memory, 1e9 bytes; 0 where it cannot be read."""
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            # Linux writes kB and means KiB.
            return round(int(value.split()[0]) * 1024 / 1e9, 1)
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        # Windows has no sysconf.
        return 0.0


def _hypervisor(cpuinfo: dict[str, str], root: Path) -> str:
    """Return the virtual machine's maker and type, such as `Amazon EC2 m7i.large`; "" on bare metal.

    x86 has a feature flag that is set under every hypervisor; elsewhere the firmware's tables must do.
    """
    vendor, product = (_read(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name"))
    firmware = f"{vendor} {product}".strip()
    if "flags" in cpuinfo:
        if "hypervisor" not in cpu_flags(cpuinfo):
            return ""
        return firmware or _read(root / "sys/hypervisor/type") or "unknown hypervisor"
    cloud = vendor == "Amazon EC2" and "metal" not in product
    return firmware if cloud or any(name in firmware for name in _HYPERVISORS) else ""


def _read(path: Path) -> str:
    """Return a small file's text without blanks and NULs around it; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except OSError:
        return ""
