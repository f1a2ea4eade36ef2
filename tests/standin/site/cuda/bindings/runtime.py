"""The CUDA runtime's functions: each returns a tuple whose first item is the error code, as in cuda-python."""

# ruff: noqa: N802, N803, N816
import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

from cuda.bindings import _copies
from cuda.bindings._machine import MACHINE, CudaFault, Gpu
from cuda.bindings._streams import OBJECTS, Capture, Event, Marker, Stream, handle_value
from cuda.bindings._types import (
    ERROR_TEXTS,
    address_of,
    cudaDeviceAttr,
    cudaDeviceProp,
    cudaError_t,
    cudaEvent_t,
    cudaGraph_t,
    cudaGraphExec_t,
    cudaMemcpyKind,
    cudaStream_t,
    cudaStreamCaptureMode,
    cudaStreamCaptureStatus,
    cudaUUID_t,
)

cudaStreamDefault = 0
cudaStreamLegacy = 1
cudaStreamPerThread = 2
cudaStreamNonBlocking = 1
cudaEventDefault = 0
cudaEventBlockingSync = 1
cudaEventDisableTiming = 2
cudaEventInterprocess = 4
cudaEventRecordDefault = 0
cudaEventWaitDefault = 0
cudaHostAllocDefault = 0
cudaHostAllocPortable = 1
cudaHostAllocMapped = 2
cudaHostAllocWriteCombined = 4
# An A100's streaming multiprocessors, L2 cache in bytes, bus in bits, and clocks in kHz.
_ATTRIBUTES = {16: 108, 38: 41943040, 37: 5120, 13: 1410000, 36: 1215000, 1: 1024, 18: 0}


def _api(outputs: int = 0, *, device: bool = True) -> Callable[[Callable[..., Any]], Callable[..., tuple[Any, ...]]]:
    """Turn a function into one of the runtime's: (error, *outputs), with None for each output after an error."""

    def decorate(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            with MACHINE.lock:
                try:
                    if device:
                        MACHINE.device()
                    result = function(*args, **kwargs)
                except CudaFault as fault:
                    return (fault.code, *([None] * outputs))
            values = () if outputs == 0 else (result,) if outputs == 1 else result
            return (cudaError_t.cudaSuccess, *values)

        return call

    return decorate


def _enum(value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"Argument has incorrect type (expected {kind.__name__}, got {type(value).__name__})")


def _size(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"an integer is required, not {type(value).__name__}")
    if value < 0:
        raise OverflowError("can't convert negative value to size_t")
    return int(value)


@_api(1)
def cudaGetDeviceCount() -> int:
    return 1


@_api(1)
def cudaGetDevice() -> int:
    return 0


@_api()
def cudaSetDevice(device: int) -> None:
    if _size(device) != 0:
        raise CudaFault(cudaError_t.cudaErrorInvalidDevice)


@_api(1)
def cudaGetDeviceProperties(device: int) -> cudaDeviceProp:
    cudaSetDevice(device)
    gpu = MACHINE.device()
    if device != 0:
        raise CudaFault(cudaError_t.cudaErrorInvalidDevice)
    properties = cudaDeviceProp()
    properties.name = gpu.name.encode()
    properties.major, properties.minor = gpu.major, gpu.minor
    properties.totalGlobalMem = gpu.memory
    properties.multiProcessorCount = _ATTRIBUTES[16]
    properties.l2CacheSize, properties.memoryBusWidth = _ATTRIBUTES[38], _ATTRIBUTES[37]
    properties.warpSize, properties.integrated = 32, 0
    properties.uuid = cudaUUID_t(b"stand-in-gpu-000")
    return properties


@_api(1)
def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> int:
    _enum(attr, cudaDeviceAttr)
    gpu = MACHINE.device()
    return {**_ATTRIBUTES, 75: gpu.major, 76: gpu.minor}[int(attr)]


@_api(1, device=False)
def cudaDriverGetVersion() -> int:
    # Without a driver the answer is 0 and a success; with a driver and no device it is the driver's.
    if isinstance(MACHINE.gpu, Gpu):
        return MACHINE.gpu.driver
    return 13000 if MACHINE.gpu == cudaError_t.cudaErrorNoDevice else 0


@_api(1, device=False)
def cudaRuntimeGetVersion() -> int:
    return MACHINE.gpu.runtime if isinstance(MACHINE.gpu, Gpu) else 13000


@_api(2)
def cudaMemGetInfo() -> tuple[int, int]:
    total = MACHINE.device().memory
    used = sum(block.size for block in MACHINE.allocations.values() if block.place == "device")
    return total - used, total


@_api(1)
def cudaMalloc(size: int) -> int:
    OBJECTS.refuse_unsafe_call()
    return MACHINE.allocate(_size(size), "device")


@_api()
def cudaFree(devPtr: object) -> None:
    OBJECTS.refuse_unsafe_call()
    OBJECTS.synchronize()  # cudaFree waits for the device.
    MACHINE.free(address_of(devPtr), "device")


@_api(1)
def cudaMallocHost(size: int) -> int:
    OBJECTS.refuse_unsafe_call()
    return MACHINE.allocate(_size(size), "host")


@_api(1)
def cudaHostAlloc(size: int, flags: int) -> int:
    OBJECTS.refuse_unsafe_call()
    if _size(flags) > 7:
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    return MACHINE.allocate(_size(size), "host")


@_api()
def cudaFreeHost(ptr: object) -> None:
    OBJECTS.refuse_unsafe_call()
    OBJECTS.synchronize()
    MACHINE.free(address_of(ptr), "host")


@_api()
def cudaMemcpyAsync(dst: object, src: object, count: int, kind: cudaMemcpyKind, stream: object) -> None:
    _enum(kind, cudaMemcpyKind)
    target = OBJECTS.find(OBJECTS.streams, stream)
    _copies.copy_async(_copies.check_copy(address_of(dst), address_of(src), _size(count), kind), target)


@_api()
def cudaMemcpy(dst: object, src: object, count: int, kind: cudaMemcpyKind) -> None:
    _enum(kind, cudaMemcpyKind)
    OBJECTS.refuse_unsafe_call()
    copy = _copies.check_copy(address_of(dst), address_of(src), _size(count), kind)
    OBJECTS.synchronize(blocking_only=True)
    copy.run()


@_api()
def cudaMemset(devPtr: object, value: int, count: int) -> None:
    OBJECTS.refuse_unsafe_call()
    MACHINE.check_range(address_of(devPtr), _size(count), "device")
    OBJECTS.synchronize(blocking_only=True)
    ctypes.memset(address_of(devPtr), value, count)


@_api()
def cudaMemsetAsync(devPtr: object, value: int, count: int, stream: object) -> None:
    address = address_of(devPtr)
    MACHINE.check_range(address, _size(count), "device")
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.put(lambda: ctypes.memset(MACHINE.kernel_view(address, count), value, count))


@_api(1)
def cudaStreamCreate() -> cudaStream_t:
    return cudaStream_t(OBJECTS.add(OBJECTS.streams, Stream(blocking=True)))


@_api(1)
def cudaStreamCreateWithFlags(flags: int) -> cudaStream_t:
    if _size(flags) not in (cudaStreamDefault, cudaStreamNonBlocking):
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    return cudaStream_t(OBJECTS.add(OBJECTS.streams, Stream(blocking=flags == cudaStreamDefault)))


@_api()
def cudaStreamDestroy(stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.refuse_capture()
    target.run()  # Queued work still completes.
    del OBJECTS.streams[handle_value(stream)]


@_api()
def cudaStreamSynchronize(stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.refuse_capture()
    target.run()


@_api()
def cudaStreamQuery(stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.refuse_capture()
    if target.queue:
        # The work ends between this answer and the next question.
        target.run()
        raise CudaFault(cudaError_t.cudaErrorNotReady)


@_api()
def cudaDeviceSynchronize() -> None:
    for stream in OBJECTS.streams.values():
        stream.refuse_capture()
    OBJECTS.synchronize()


@_api()
def cudaStreamWaitEvent(stream: object, event: object, flags: int) -> None:
    target, marker = OBJECTS.find(OBJECTS.streams, stream), OBJECTS.find(OBJECTS.events, event).marker
    _size(flags)
    if marker is None:
        return
    if marker.captured or target.capture is not None:
        # Within one capture the order is already kept. Forks to another stream are not played here.
        if marker.stream is not target or not marker.captured:
            raise CudaFault(cudaError_t.cudaErrorStreamCaptureIsolation)
        return
    target.put(marker.wait)


@_api()
def cudaStreamBeginCapture(stream: object, mode: cudaStreamCaptureMode) -> None:
    _enum(mode, cudaStreamCaptureMode)
    target = OBJECTS.find(OBJECTS.streams, stream)
    if handle_value(stream) == 0:
        raise CudaFault(cudaError_t.cudaErrorStreamCaptureUnsupported)
    if target.capture is not None:
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    target.capture = Capture(mode, threading.get_ident())


@_api(1)
def cudaStreamEndCapture(stream: object) -> cudaGraph_t:
    target = OBJECTS.find(OBJECTS.streams, stream)
    capture, target.capture = target.capture, None
    if capture is None:
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    if capture.invalid:
        raise CudaFault(cudaError_t.cudaErrorStreamCaptureInvalidated)
    if capture.mode != cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed and capture.thread != threading.get_ident():
        raise CudaFault(cudaError_t.cudaErrorStreamCaptureWrongThread)
    return cudaGraph_t(OBJECTS.add(OBJECTS.graphs, capture.graph))


@_api(1)
def cudaStreamIsCapturing(stream: object) -> cudaStreamCaptureStatus:
    capture = OBJECTS.find(OBJECTS.streams, stream).capture
    return cudaStreamCaptureStatus(0 if capture is None else 2 if capture.invalid else 1)


@_api(1)
def cudaGraphInstantiate(graph: object, flags: int) -> cudaGraphExec_t:
    _size(flags)
    return cudaGraphExec_t(OBJECTS.add(OBJECTS.executables, list(OBJECTS.find(OBJECTS.graphs, graph).jobs)))


@_api()
def cudaGraphLaunch(graphExec: object, stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    for job in OBJECTS.find(OBJECTS.executables, graphExec):
        target.put(job)


@_api()
def cudaGraphUpload(graphExec: object, stream: object) -> None:
    OBJECTS.find(OBJECTS.executables, graphExec)
    OBJECTS.find(OBJECTS.streams, stream)


@_api()
def cudaGraphDestroy(graph: object) -> None:
    OBJECTS.find(OBJECTS.graphs, graph)
    del OBJECTS.graphs[handle_value(graph)]


@_api()
def cudaGraphExecDestroy(graphExec: object) -> None:
    OBJECTS.find(OBJECTS.executables, graphExec)
    del OBJECTS.executables[handle_value(graphExec)]


@_api(1)
def cudaEventCreate() -> cudaEvent_t:
    return cudaEvent_t(OBJECTS.add(OBJECTS.events, Event(timing=True)))


@_api(1)
def cudaEventCreateWithFlags(flags: int) -> cudaEvent_t:
    if _size(flags) & ~(cudaEventBlockingSync | cudaEventDisableTiming):
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    return cudaEvent_t(OBJECTS.add(OBJECTS.events, Event(timing=not flags & cudaEventDisableTiming)))


@_api()
def cudaEventRecord(event: object, stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    marker = Marker(target)
    OBJECTS.find(OBJECTS.events, event).marker = marker
    target.put(marker)


@_api()
def cudaEventSynchronize(event: object) -> None:
    found = OBJECTS.find(OBJECTS.events, event)
    found.refuse_captured()
    if found.marker is not None:
        found.marker.wait()


@_api()
def cudaEventQuery(event: object) -> None:
    found = OBJECTS.find(OBJECTS.events, event)
    found.refuse_captured()
    if found.marker is not None and found.marker.time is None:
        found.marker.wait()  # Done by the next question, as on a device that works by itself.
        raise CudaFault(cudaError_t.cudaErrorNotReady)


@_api(1)
def cudaEventElapsedTime(start: object, end: object) -> float:
    events = [OBJECTS.find(OBJECTS.events, event) for event in (start, end)]
    if not all(event.timing and event.marker is not None for event in events):
        raise CudaFault(cudaError_t.cudaErrorInvalidResourceHandle)
    times = [event.marker.time for event in events]
    if None in times:
        raise CudaFault(cudaError_t.cudaErrorNotReady)
    return (times[1] - times[0]) * 1e3


@_api()
def cudaEventDestroy(event: object) -> None:
    OBJECTS.find(OBJECTS.events, event)
    del OBJECTS.events[handle_value(event)]


@_api(1, device=False)
def cudaGetErrorName(error: cudaError_t) -> bytes:
    _enum(error, cudaError_t)
    return error.name.encode()


@_api(1, device=False)
def cudaGetErrorString(error: cudaError_t) -> bytes:
    _enum(error, cudaError_t)
    return ERROR_TEXTS[error].encode()
