"""Streams, captures and graphs."""

# ruff: noqa: N802, N803
import threading

from cuda.bindings._calls import api, check_enum, check_size
from cuda.bindings._machine import CudaFault
from cuda.bindings._streams import OBJECTS, Capture, Stream, handle_value
from cuda.bindings._types import (
    cudaError_t,
    cudaGraph_t,
    cudaGraphExec_t,
    cudaStream_t,
    cudaStreamCaptureMode,
    cudaStreamCaptureStatus,
)

_NON_BLOCKING = 1  # cudaStreamNonBlocking


@api(1)
def cudaStreamCreate() -> cudaStream_t:
    return cudaStream_t(OBJECTS.add(OBJECTS.streams, Stream(blocking=True)))


@api(1)
def cudaStreamCreateWithFlags(flags: int) -> cudaStream_t:
    if check_size(flags) not in (0, _NON_BLOCKING):
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    return cudaStream_t(OBJECTS.add(OBJECTS.streams, Stream(blocking=flags != _NON_BLOCKING)))


@api()
def cudaStreamDestroy(stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.refuse_capture()
    target.run()  # Queued work still completes.
    del OBJECTS.streams[handle_value(stream)]


@api()
def cudaStreamSynchronize(stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.refuse_capture()
    target.run()


@api()
def cudaStreamQuery(stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    target.refuse_capture()
    if target.queue:
        # The work ends between this answer and the next question.
        target.run()
        raise CudaFault(cudaError_t.cudaErrorNotReady)


@api()
def cudaDeviceSynchronize() -> None:
    for stream in OBJECTS.streams.values():
        stream.refuse_capture()
    OBJECTS.synchronize()


@api()
def cudaStreamBeginCapture(stream: object, mode: cudaStreamCaptureMode) -> None:
    check_enum(mode, cudaStreamCaptureMode)
    target = OBJECTS.find(OBJECTS.streams, stream)
    if handle_value(stream) == 0:
        raise CudaFault(cudaError_t.cudaErrorStreamCaptureUnsupported)
    if target.capture is not None:
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    target.capture = Capture(mode, threading.get_ident())


@api(1)
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


@api(1)
def cudaStreamIsCapturing(stream: object) -> cudaStreamCaptureStatus:
    capture = OBJECTS.find(OBJECTS.streams, stream).capture
    return cudaStreamCaptureStatus(0 if capture is None else 2 if capture.invalid else 1)


@api(1)
def cudaGraphInstantiate(graph: object, flags: int) -> cudaGraphExec_t:
    check_size(flags)
    return cudaGraphExec_t(OBJECTS.add(OBJECTS.executables, list(OBJECTS.find(OBJECTS.graphs, graph).jobs)))


@api()
def cudaGraphLaunch(graphExec: object, stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    for job in OBJECTS.find(OBJECTS.executables, graphExec):
        target.put(job)


@api()
def cudaGraphUpload(graphExec: object, stream: object) -> None:
    OBJECTS.find(OBJECTS.executables, graphExec)
    OBJECTS.find(OBJECTS.streams, stream)


@api()
def cudaGraphDestroy(graph: object) -> None:
    OBJECTS.find(OBJECTS.graphs, graph)
    del OBJECTS.graphs[handle_value(graph)]


@api()
def cudaGraphExecDestroy(graphExec: object) -> None:
    OBJECTS.find(OBJECTS.executables, graphExec)
    del OBJECTS.executables[handle_value(graphExec)]
