"""Events."""

# ruff: noqa: N802

from cuda.bindings._calls import api, check_size
from cuda.bindings._machine import CudaFault
from cuda.bindings._streams import OBJECTS, Event, Marker, handle_value
from cuda.bindings._types import cudaError_t, cudaEvent_t

_BLOCKING_SYNC, _DISABLE_TIMING = 1, 2  # cudaEventBlockingSync, cudaEventDisableTiming


@api()
def cudaStreamWaitEvent(stream: object, event: object, flags: int) -> None:
    target, marker = OBJECTS.find(OBJECTS.streams, stream), OBJECTS.find(OBJECTS.events, event).marker
    check_size(flags)
    if marker is None:
        return
    if marker.captured or target.capture is not None:
        # Within one capture the order is already kept. Forks to another stream are not played here.
        if marker.stream is not target or not marker.captured:
            raise CudaFault(cudaError_t.cudaErrorStreamCaptureIsolation)
        return
    target.put(marker.wait)


@api(1)
def cudaEventCreate() -> cudaEvent_t:
    return cudaEvent_t(OBJECTS.add(OBJECTS.events, Event(timing=True)))


@api(1)
def cudaEventCreateWithFlags(flags: int) -> cudaEvent_t:
    if check_size(flags) & ~(_BLOCKING_SYNC | _DISABLE_TIMING):
        raise CudaFault(cudaError_t.cudaErrorInvalidValue)
    return cudaEvent_t(OBJECTS.add(OBJECTS.events, Event(timing=not flags & _DISABLE_TIMING)))


@api()
def cudaEventRecord(event: object, stream: object) -> None:
    target = OBJECTS.find(OBJECTS.streams, stream)
    marker = Marker(target)
    OBJECTS.find(OBJECTS.events, event).marker = marker
    target.put(marker)


@api()
def cudaEventSynchronize(event: object) -> None:
    found = OBJECTS.find(OBJECTS.events, event)
    found.refuse_captured()
    if found.marker is not None:
        found.marker.wait()


@api()
def cudaEventQuery(event: object) -> None:
    found = OBJECTS.find(OBJECTS.events, event)
    found.refuse_captured()
    if found.marker is not None and found.marker.time is None:
        found.marker.wait()  # Done by the next question, as on a device that works by itself.
        raise CudaFault(cudaError_t.cudaErrorNotReady)


@api(1)
def cudaEventElapsedTime(start: object, end: object) -> float:
    events = [OBJECTS.find(OBJECTS.events, event) for event in (start, end)]
    if not all(event.timing and event.marker is not None for event in events):
        raise CudaFault(cudaError_t.cudaErrorInvalidResourceHandle)
    times = [event.marker.time for event in events]
    if None in times:
        raise CudaFault(cudaError_t.cudaErrorNotReady)
    return (times[1] - times[0]) * 1e3


@api()
def cudaEventDestroy(event: object) -> None:
    OBJECTS.find(OBJECTS.events, event)
    del OBJECTS.events[handle_value(event)]
