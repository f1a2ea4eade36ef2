"""GPU memory for outputs that callers keep: given back when they let go, and used again without a new allocation."""

import sys
import threading

from runtime.engines.trt.cuda_calls import DeviceBuffer, Event, use_device


class BufferPool:
    """Buffers that nobody uses; thread-safe."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._idle: list[DeviceBuffer] = []
        self._closed = False

    def take(self, size_bytes: int) -> DeviceBuffer:
        """Return the smallest idle buffer that is large enough, or a new one."""
        with self._lock:
            fitting = [buffer for buffer in self._idle if buffer.size_bytes >= size_bytes]
            if fitting:
                best = min(fitting, key=lambda buffer: buffer.size_bytes)
                self._idle.remove(best)
                return best
        use_device(self._device)
        return DeviceBuffer(size_bytes)

    def give_back(self, buffer: DeviceBuffer) -> None:
        """Keep a buffer for later, or free it if the pool is closed."""
        with self._lock:
            if not self._closed:
                self._idle.append(buffer)
                return
        buffer.close()

    def close(self) -> None:
        """Free the idle buffers; those that are out are freed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for buffer in idle:
            buffer.close()


class Lease:
    """Buffers that are out, until nothing refers to this any more.

    Attributes:
        buffers: The buffers.
        written: Marks the end of what writes them.
    """

    def __init__(self, pool: BufferPool, buffers: list[DeviceBuffer], *, source: object) -> None:
        """Hold buffers.

        Args:
            pool: Where they go back to.
            buffers: The buffers.
            source: Object that is kept alive too: what the arrays are computed from may still be read.
        """
        self.buffers = buffers
        self.written = Event()
        self._pool, self._source = pool, source

    def __del__(self) -> None:
        """Give the buffers back. At the end of the process the driver does that."""
        if sys.is_finalizing():
            return
        self.written.close()
        for buffer in self.buffers:
            self._pool.give_back(buffer)
