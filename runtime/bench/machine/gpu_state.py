"""The state of NVIDIA GPUs, asked of nvidia-smi: clocks, temperature, and what slows them down."""

import subprocess
from dataclasses import dataclass

# nvidia-smi takes about a second without the persistence daemon, and can hang on a GPU that has fallen off the bus.
_TIMEOUT_S = 10
_FIELDS = ("uuid", "clocks.sm", "clocks.max.sm", "temperature.gpu")
# The bit mask's name since driver 535, and before.
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# Bits that make a GPU slower than it was set to be. Not among them: 0x1, idle, and 0x2, clocks that someone set.
# Source: nvml.h, nvmlClocksEventReasons.
_SLOWDOWNS = {
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal slowdown by the driver",
    0x040: "thermal slowdown by the hardware",
    0x080: "power brake",
    0x100: "display clocks",
}


@dataclass(frozen=True)
class GpuState:
    """How fast a GPU runs at the moment.

    Attributes:
        clock_mhz: Clock of the streaming multiprocessors; None where it cannot be read, likewise below.
        max_clock_mhz: The highest that it could have.
        temperature_c: Temperature of the chip.
        throttling: What slows it down, in words; empty for nothing that is known.
    """

    clock_mhz: int | None = None
    max_clock_mhz: int | None = None
    temperature_c: int | None = None
    throttling: str = ""


def read_gpu_states(program: str = "nvidia-smi") -> dict[str, GpuState]:
    """Return each GPU's state by its UUID; empty where nvidia-smi is absent or does not answer.

    Args:
        program: nvidia-smi's name or path.
    """
    for reasons in _REASONS:
        query = f"--query-gpu={','.join((*_FIELDS, reasons))}"
        command = [program, query, "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return {}
        if done.returncode == 0:
            return parse_gpu_states(done.stdout)
    return {}


def parse_gpu_states(text: str) -> dict[str, GpuState]:
    """Return each GPU's state by its UUID.

    Args:
        text: Lines of nvidia-smi's CSV: UUID, clock, highest clock, temperature, mask of reasons. A value that a GPU
            does not have is `[N/A]`, `[Not Supported]` or the like.
    """
    states = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_FIELDS) + 1:
            continue
        clock, highest, temperature, mask = (_number(cell) for cell in cells[1:])
        states[cells[0]] = GpuState(clock, highest, temperature, describe_throttling(mask or 0))
    return states


def describe_throttling(mask: int) -> str:
    """Return in words what slows a GPU down; empty for nothing.

    Args:
        mask: NVML's mask of clocks event reasons.
    """
    return ", ".join(words for bit, words in _SLOWDOWNS.items() if mask & bit)


def gpu_uuid(index: int) -> str:
    """Return a GPU's UUID as nvidia-smi writes it: CUDA numbers the GPUs otherwise.

    Args:
        index: CUDA's number of it.

    Raises:
        EngineError: CUDA does not answer.
    """
    from cuda.bindings import runtime as cudart

    from runtime.engines.trt.cuda_calls import check

    properties = check(cudart.cudaGetDeviceProperties(index))
    return format_uuid(bytes(properties.uuid.bytes))


def format_uuid(value: bytes) -> str:
    """Return 16 bytes as `GPU-` and groups of 8, 4, 4, 4 and 12 digits."""
    digits = value.hex()
    return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _number(cell: str) -> int | None:
    """Return a decimal or hexadecimal number; None for what is none."""
    try:
        return int(cell, 0)
    except ValueError:
        return None
