"""Memory on device and host, and copies."""

# ruff: noqa: N802, N803
import ctypes

from cuda.bindings import _copies
from cuda.bindings._calls import api, check_enum, check_size
from cuda.bindings._machine import MACHINE, CudaFault
from cuda.bindings._streams import OBJECTS
from cuda.bindings._types import address_of, cudaError_t, cudaMemcpyKind


@api(2)
def cudaMemGetInfo() -> tuple[int, int]:
    total = MACHINE.device().memory
    used = sum(block.size for block in MACHINE.allocations.values() if block.place == "device")
    return total - used, total


@api(1)
def cudaMalloc(size: int) -> int:
    OBJECTS.refuse_unsafe_call()
    return MACHINE.allocate(check_size(size), "device")


@api()
def cudaFree(devPtr: object) -> None:
    OBJECTS.refuse_unsafe_call()
    OBJECTS.synchronize()  # cudaFree waits for the device.
    MACHINE.free(address_of(devPtr), "device")


@api(1)
def cudaMallocHost(size: int) -> int:
    OBJECTS.refuse_unsafe_call()
    return MACHINE.allocate(check_size(size), "host")


@api(1)
def cudaHostAlloc(size: int, flags: int) -> int:
    OBJECTS.refuse_unsafe_call()
    if check_size(flags) > 7:
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    return MACHINE.allocate(check_size(size), "host")


@api()
def cudaFreeHost(ptr: object) -> None:
    OBJECTS.refuse_unsafe_call()
    OBJECTS.synchronize()
    MACHINE.free(address_of(ptr), "host")


@api()
def cudaMemcpyAsync(dst: object, src: object, count: int, kind: cudaMemcpyKind, stream: object) -> None:
    check_enum(kind, cudaMemcpyKind)
    target = OBJECTS.find(OBJECTS.streams, stream)
    _copies.copy_async(_copies.check_copy(address_of(dst), address_of(src), check_size(count), kind), target)


@api()
def cudaMemcpy(dst: object, src: object, count: int, kind: cudaMemcpyKind) -> None:
    check_enum(kind, cudaMemcpyKind)
    OBJECTS.refuse_unsafe_call()
    copy = _copies.check_copy(address_of(dst), address_of(src), check_size(count), kind)
    OBJECTS.synchronize(blocking_only=True)
    copy.run()


@api()
def cudaMemset(devPtr: object, value: int, count: int) -> None:
    OBJECTS.refuse_unsafe_call()
    MACHINE.check_range(address_of(devPtr), check_size(count), "device")
    OBJECTS.synchronize(blocking_only=True)
    ctypes.memset(address_of(devPtr), value, count)


@api()
def cudaMemsetAsync(devPtr: object, value: int, count: int, stream: object) -> None:
    address = address_of(devPtr)
    MACHINE.check_range(address, check_size(count), "device")
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.put(lambda: ctypes.memset(MACHINE.kernel_view(address, count), value, count))
