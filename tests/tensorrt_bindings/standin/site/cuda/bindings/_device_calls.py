"""Devices, versions and the texts of errors."""

# ruff: noqa: N802

from cuda.bindings._calls import api, check_enum, check_size
from cuda.bindings._machine import MACHINE, CudaFault, Gpu
from cuda.bindings._types import ERROR_TEXTS, cudaDeviceAttr, cudaDeviceProp, cudaError_t, cudaUUID_t

# An A100's streaming multiprocessors, L2 cache in bytes, bus in bits, clocks in kHz, threads per block; not integrated.
_ATTRIBUTES = {16: 108, 38: 41943040, 37: 5120, 13: 1410000, 36: 1215000, 1: 1024, 18: 0}


@api(1)
def cudaGetDeviceCount() -> int:
    return 1


@api(1)
def cudaGetDevice() -> int:
    return 0


@api()
def cudaSetDevice(device: int) -> None:
    _device(device)


@api(1)
def cudaGetDeviceProperties(device: int) -> cudaDeviceProp:
    gpu = _device(device)
    properties = cudaDeviceProp()
    properties.name = gpu.name.encode()
    properties.major, properties.minor = gpu.major, gpu.minor
    properties.totalGlobalMem = gpu.memory
    properties.multiProcessorCount = _ATTRIBUTES[16]
    properties.l2CacheSize, properties.memoryBusWidth = _ATTRIBUTES[38], _ATTRIBUTES[37]
    properties.warpSize, properties.integrated = 32, 0
    properties.uuid = cudaUUID_t(b"stand-in-gpu-000")
    return properties


@api(1)
def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> int:
    check_enum(attr, cudaDeviceAttr)
    gpu = _device(device)
    return {**_ATTRIBUTES, 75: gpu.major, 76: gpu.minor}[int(attr)]


@api(1, device=False)
def cudaDriverGetVersion() -> int:
    # Without a driver the answer is 0 and a success; with a driver and no device it is the driver's.
    if isinstance(MACHINE.gpu, Gpu):
        return MACHINE.gpu.driver
    return 13000 if MACHINE.gpu == cudaError_t.cudaErrorNoDevice else 0


@api(1, device=False)
def cudaRuntimeGetVersion() -> int:
    return MACHINE.gpu.runtime if isinstance(MACHINE.gpu, Gpu) else 13000


@api(1, device=False)
def cudaGetErrorName(error: cudaError_t) -> bytes:
    check_enum(error, cudaError_t)
    return error.name.encode()


@api(1, device=False)
def cudaGetErrorString(error: cudaError_t) -> bytes:
    check_enum(error, cudaError_t)
    return ERROR_TEXTS[error].encode()


def _device(index: int) -> Gpu:
    if check_size(index) != 0:
        raise CudaFault(cudaError_t.cudaErrorInvalidDevice)
    return MACHINE.device()
