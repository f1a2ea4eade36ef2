"""Streams, events and graphs: queues whose jobs run only when somebody waits for them.

A GPU works beside the program; a program that forgets to wait reads stale data, sometimes. Here it always does.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cuda.bindings._machine import MACHINE, CudaFault
from cuda.bindings._types import cudaError_t, cudaStreamCaptureMode

Job = Callable[[], None]
# cudaStreamLegacy is another name of the default stream; cudaStreamPerThread is one that blocks as it does.
DEFAULT, LEGACY, PER_THREAD = 0, 1, 2
# Handles look like the addresses that C would give, and never like a device pointer or a small number.
_handles = itertools.count(0x5500_0000_1000, 0x100)


@dataclass
class Graph:
    """What a capture recorded, in order."""

    jobs: list[Job] = field(default_factory=list)


@dataclass
class Capture:
    """A capture under way on one stream."""

    mode: cudaStreamCaptureMode
    thread: int
    graph: Graph = field(default_factory=Graph)
    invalid: bool = False


@dataclass
class Stream:
    """A queue; `blocking` streams order themselves with the legacy stream."""

    blocking: bool
    queue: deque[Job] = field(default_factory=deque)
    capture: Capture | None = None

    def put(self, job: Job) -> None:
        """Queue a job, or record it when the stream is capturing."""
        if self.capture is None:
            self.queue.append(job)
        elif self.capture.invalid:
            raise CudaFault(cudaError_t.cudaErrorStreamCaptureInvalidated)
        else:
            self.capture.graph.jobs.append(job)

    def run(self, until: Job | None = None) -> None:
        """Run the queued jobs, to and with `until` when it is given."""
        while self.queue:
            job = self.queue.popleft()
            try:
                job()
            except CudaFault as fault:
                # A failed kernel spoils the context: every later call reports it.
                MACHINE.sticky = fault.code
                raise
            if job is until:
                return

    def refuse_capture(self) -> None:
        """Refuse what may not happen while this stream records, and spoil the recording, as CUDA does."""
        if self.capture is not None:
            self.capture.invalid = True
            raise CudaFault(cudaError_t.cudaErrorStreamCaptureUnsupported)


class Marker:
    """The point of a stream at which an event was recorded."""

    def __init__(self, stream: Stream):
        self.stream = stream
        self.captured = stream.capture is not None
        self.time: float | None = None

    def __call__(self) -> None:
        self.time = time.perf_counter()

    def wait(self) -> None:
        """Run the stream up to this point."""
        if self.time is None:
            self.stream.run(until=self)


@dataclass
class Event:
    """An event; without a marker it counts as complete."""

    timing: bool
    marker: Marker | None = None

    def refuse_captured(self) -> None:
        """Refuse to wait from outside for a point inside a graph."""
        if self.marker is not None and self.marker.captured:
            raise CudaFault(cudaError_t.cudaErrorCapturedEvent)


class Objects:
    """Every live stream, event, graph and executable graph by handle."""

    def __init__(self) -> None:
        legacy = Stream(blocking=True)
        self.streams: dict[int, Stream] = {DEFAULT: legacy, LEGACY: legacy, PER_THREAD: Stream(blocking=True)}
        self.events: dict[int, Event] = {}
        self.graphs: dict[int, Graph] = {}
        self.executables: dict[int, list[Job]] = {}

    def find(self, table: dict, handle: object):  # type: ignore[no-untyped-def,type-arg]
        """Return the live object of a handle.

        Raises:
            CudaFault: cudaErrorInvalidResourceHandle.
        """
        try:
            return table[handle_value(handle)]
        except KeyError:
            raise CudaFault(cudaError_t.cudaErrorInvalidResourceHandle) from None

    def add(self, table: dict, thing: object) -> int:  # type: ignore[type-arg]
        """Store an object and return its handle."""
        handle = next(_handles)
        table[handle] = thing
        return handle

    def synchronize(self, *, blocking_only: bool = False) -> None:
        """Run every stream to its end."""
        for stream in self.streams.values():
            if stream.blocking or not blocking_only:
                stream.run()

    def refuse_unsafe_call(self) -> None:
        """Refuse a call that a capture forbids: in global mode to every thread, in thread-local mode to its own.

        Source: CUDA Runtime API, cudaThreadExchangeStreamCaptureMode.
        """
        modes = cudaStreamCaptureMode
        for stream in self.streams.values():
            capture = stream.capture
            if capture is None or capture.mode == modes.cudaStreamCaptureModeRelaxed:
                continue
            own = capture.thread == threading.get_ident()
            if own or capture.mode == modes.cudaStreamCaptureModeGlobal:
                stream.refuse_capture()


OBJECTS = Objects()


def handle_value(handle: object) -> int:
    """Return a handle as an int.

    Raises:
        TypeError: The object is neither a handle, an int, nor None.
    """
    if handle is None:
        return 0
    if hasattr(handle, "getPtr") or isinstance(handle, int):
        return int(handle)  # type: ignore[call-overload,no-any-return]
    raise TypeError(f"Argument 'handle' has incorrect type (expected a CUDA handle, got {type(handle).__name__})")


def enqueue(stream_handle: int, job: Job) -> None:
    """Put a kernel on a stream.

    Raises:
        CudaFault: There is no such stream, or an earlier kernel failed.
    """
    with MACHINE.lock:
        MACHINE.device()
        OBJECTS.find(OBJECTS.streams, stream_handle).put(job)


def is_capturing(stream_handle: int) -> bool:
    """Say whether a stream records."""
    with MACHINE.lock:
        return OBJECTS.find(OBJECTS.streams, stream_handle).capture is not None


def spoil_capture(stream_handle: int) -> None:
    """End a recording as a forbidden call does.

    Raises:
        CudaFault: Always, when the stream records.
    """
    with MACHINE.lock:
        OBJECTS.find(OBJECTS.streams, stream_handle).refuse_capture()


def live_objects() -> dict[str, int]:
    """Return how many streams (without CUDA's own), events, graphs and executable graphs are alive."""
    with MACHINE.lock:
        return {
            "streams": sum(handle > PER_THREAD for handle in OBJECTS.streams),
            "events": len(OBJECTS.events),
            "graphs": len(OBJECTS.graphs),
            "executables": len(OBJECTS.executables),
        }
