"""The machine that the stand-in pretends to be: its GPU, and the memory that was allocated on it."""

import ctypes
import json
import os
import threading
from dataclasses import dataclass, field
from typing import Literal

from cuda.bindings._types import cudaError_t

_DEFAULT = {
    "name": "NVIDIA Stand-in A100",
    "major": 8,
    "minor": 0,
    "memory": 85899345920,
    "driver": 13000,
    "runtime": 13000,
}
# cudaMalloc aligns to at least 256 bytes (CUDA C++ Programming Guide, device memory accesses).
_ALIGNMENT = 256
# Fresh device memory is never zero here, so that reading it before writing is seen.
_GARBAGE = 0xA5


class CudaFault(Exception):  # noqa: N818
    """A CUDA function that ends with `code`."""

    def __init__(self, code: cudaError_t):
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True)
class Gpu:
    """The one device: compute capability, memory in bytes, versions as 1000 * major + 10 * minor."""

    name: str
    major: int
    minor: int
    memory: int
    driver: int
    runtime: int


@dataclass
class Allocation:
    """One block: its first usable byte, its size, where it lies, and the buffer that holds it."""

    address: int
    size: int
    place: Literal["device", "host"]
    buffer: object = field(repr=False)


def faults() -> frozenset[str]:
    """Return the faults that the environment asks for."""
    return frozenset(filter(None, os.environ.get("STANDIN_FAULT", "").split(",")))


def _read_gpu() -> Gpu | cudaError_t:
    text = os.environ.get("STANDIN_GPU", "{}")
    if text == "none":
        return cudaError_t.cudaErrorNoDevice
    if text == "nodriver":
        return cudaError_t.cudaErrorInsufficientDriver
    return Gpu(**{**_DEFAULT, **json.loads(text)})


class Machine:
    """The GPU, its allocations, and the error that a failed kernel leaves behind."""

    def __init__(self) -> None:
        # One lock for every call and for running jobs: the device does one thing at a time.
        self.lock = threading.RLock()
        self.gpu = _read_gpu()
        self.allocations: dict[int, Allocation] = {}
        self.sticky: cudaError_t | None = None

    def device(self) -> Gpu:
        """Return the GPU.

        Raises:
            CudaFault: There is none, the driver is older than the runtime, or an earlier kernel failed.
        """
        if isinstance(self.gpu, cudaError_t):
            raise CudaFault(self.gpu)
        # A driver runs the runtimes of its own major version (CUDA's minor version compatibility).
        if self.gpu.runtime // 1000 > self.gpu.driver // 1000:
            raise CudaFault(cudaError_t.cudaErrorInsufficientDriver)
        if self.sticky is not None:
            raise CudaFault(self.sticky)
        return self.gpu

    def allocate(self, size: int, place: Literal["device", "host"]) -> int:
        """Return the address of `size` new bytes; 0 for no bytes, as cudaMalloc does."""
        if size == 0:
            return 0
        used = sum(block.size for block in self.allocations.values() if block.place == "device")
        if place == "device" and ("cuda-alloc" in faults() or used + size > self.device().memory):
            raise CudaFault(cudaError_t.cudaErrorMemoryAllocation)
        buffer = (ctypes.c_ubyte * (size + _ALIGNMENT))()
        address = -(-ctypes.addressof(buffer) // _ALIGNMENT) * _ALIGNMENT
        ctypes.memset(address, _GARBAGE, size)
        self.allocations[address] = Allocation(address, size, place, buffer)
        return address

    def free(self, address: int, place: Literal["device", "host"]) -> None:
        """Release a block.

        Raises:
            CudaFault: No live block of that kind begins at `address`.
        """
        if address == 0:
            return
        block = self.allocations.get(address)
        if block is None or block.place != place:
            raise CudaFault(cudaError_t.cudaErrorInvalidValue)
        del self.allocations[address]

    def find(self, address: int) -> Allocation | None:
        """Return the live block that holds `address`."""
        for block in self.allocations.values():
            if block.address <= address < block.address + block.size:
                return block
        return None

    def check_range(self, address: int, size: int, place: Literal["device", "host"]) -> None:
        """Refuse a range that does not lie in one live block of that kind (pageable host memory is not checked).

        Raises:
            CudaFault: cudaErrorInvalidValue.
        """
        block = self.find(address)
        pageable = block is None and place == "host" and address != 0
        inside = block is not None and block.place == place and address + size <= block.address + block.size
        if not (pageable or inside):
            raise CudaFault(cudaError_t.cudaErrorInvalidValue)

    def kernel_view(self, address: int, size: int) -> "ctypes.Array[ctypes.c_ubyte]":
        """Return `size` bytes of device memory as a kernel sees them.

        Raises:
            CudaFault: cudaErrorIllegalAddress: the bytes are not (or no longer) all allocated.
        """
        block = self.find(address)
        if block is None or block.place != "device" or address + size > block.address + block.size:
            raise CudaFault(cudaError_t.cudaErrorIllegalAddress)
        return (ctypes.c_ubyte * size).from_address(address)


MACHINE = Machine()


def allocated() -> tuple[int, int]:
    """Return the number of live allocations, device and pinned, and their bytes in all."""
    with MACHINE.lock:
        return len(MACHINE.allocations), sum(block.size for block in MACHINE.allocations.values())
