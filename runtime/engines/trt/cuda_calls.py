"""CUDA through cuda-python: devices, streams, memory and graphs, with every status checked.

`cuda.bindings` is imported inside functions: without a driver, or without the package, everything here
raises one `EngineError` that says so. Nothing here needs PyTorch.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.errors import EngineError

if TYPE_CHECKING:
    from cuda.bindings import runtime as cudart

Bytes = npt.NDArray[np.uint8]

_NO_DRIVER = "there is no NVIDIA driver: install it, or use a machine with an NVIDIA GPU"
_CHECK = "check `nvidia-smi` and CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class GpuDevice:
    """A GPU.

    Attributes:
        index: CUDA's number of it.
        name: Name of the GPU, for example `NVIDIA A100 80GB PCIe`.
        compute_capability: Compute capability, for example `8.0`.
        memory_bytes: Memory of the GPU.
    """

    index: int
    name: str
    compute_capability: str
    memory_bytes: int


@dataclass(frozen=True)
class CudaSystem:
    """CUDA on this machine.

    Attributes:
        driver: Newest CUDA version that the driver supports, such as `13.0`; empty where there is no driver.
        runtime: Version of the CUDA runtime in cuda-python; empty where cuda-python is not installed.
        devices: The GPUs, by index.
        problem: What is wrong, in one sentence; empty where a GPU can be used.
    """

    driver: str
    runtime: str
    devices: tuple[GpuDevice, ...]
    problem: str


def find_cuda() -> CudaSystem:
    """Return what there is of CUDA on this machine; never raises, and makes no context on a GPU.

    TensorRT must not be asked before this: without a driver it returns an invalid pointer and then crashes.
    """
    driver = runtime = ""
    try:
        from cuda.bindings import runtime as cudart

        runtime = _version(check(cudart.cudaRuntimeGetVersion()))
        driver = _version(check(cudart.cudaDriverGetVersion()))
        if not driver:
            return CudaSystem("", runtime, (), _NO_DRIVER)
        devices = tuple(_device(index) for index in range(check(cudart.cudaGetDeviceCount())))
    except ImportError as error:
        advice = "pip install 'export-ssl[gpu]' (CUDA 13) or 'export-ssl[gpu-cu12]' (CUDA 12)"
        return CudaSystem(driver, runtime, (), f"cuda-python cannot be imported ({error}): {advice}")
    except (EngineError, RuntimeError, OSError) as error:
        # cuda-python raises RuntimeError and OSError where it cannot load a library of CUDA's.
        return CudaSystem(driver, runtime, (), f"CUDA finds no GPU ({error}): {_CHECK}")
    problem = "" if devices else f"CUDA finds no GPU: {_CHECK}"
    return CudaSystem(driver, runtime, devices, problem)


def check(result: tuple[Any, ...]) -> Any:
    """Return what a call of cuda-python returned beside its status: None, a value, or a tuple of them.

    Args:
        result: The call's result, `(status, *values)`.

    Raises:
        EngineError: The status is not success.
    """
    from cuda.bindings import runtime as cudart

    status, *values = result
    if status != cudart.cudaError_t.cudaSuccess:
        _, text = cudart.cudaGetErrorString(status)
        words = text.decode() if isinstance(text, bytes) else str(text)
        advice = ""
        if status == cudart.cudaError_t.cudaErrorMemoryAllocation:
            advice = ": free GPU memory (`nvidia-smi` shows who holds it), or build with a smaller --profile"
        raise EngineError(f"CUDA error {int(status)}, {words}{advice}")
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)


def use_device(index: int) -> None:
    """Make a GPU the current one of this thread; CUDA keeps it per thread."""
    from cuda.bindings import runtime as cudart

    check(cudart.cudaSetDevice(index))


class Stream:
    """A CUDA stream of our own that does not wait for the default stream."""

    def __init__(self) -> None:
        from cuda.bindings import runtime as cudart

        self._stream: Any = check(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))

    @property
    def handle(self) -> int:
        """The stream's address, as TensorRT takes it."""
        return int(self._stream)

    def synchronise(self) -> None:
        """Wait until all that was enqueued is done.

        Raises:
            EngineError: Something that was enqueued failed.
        """
        from cuda.bindings import runtime as cudart

        check(cudart.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        """Destroy the stream. Calling it twice is fine."""
        from cuda.bindings import runtime as cudart

        if self._stream is not None:
            check(cudart.cudaStreamDestroy(self._stream))
            self._stream = None


class DeviceBuffer:
    """Memory on the GPU."""

    def __init__(self, size_bytes: int) -> None:
        from cuda.bindings import runtime as cudart

        self.size_bytes = size_bytes
        self.pointer = int(check(cudart.cudaMalloc(size_bytes)))

    def close(self) -> None:
        """Free the memory. Calling it twice is fine."""
        from cuda.bindings import runtime as cudart

        if self.pointer:
            check(cudart.cudaFree(self.pointer))
            self.pointer = 0


class PinnedBuffer:
    """Page-locked memory of the host, from and to which copies are asynchronous.

    Attributes:
        array: The memory, (size_bytes,) uint8.
    """

    def __init__(self, size_bytes: int) -> None:
        from cuda.bindings import runtime as cudart

        self.pointer = int(check(cudart.cudaMallocHost(size_bytes)))
        self.array: Bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(self.pointer))

    def close(self) -> None:
        """Free the memory, after which `array` is empty. Calling it twice is fine."""
        from cuda.bindings import runtime as cudart

        if self.pointer:
            self.array = np.empty(0, np.uint8)
            check(cudart.cudaFreeHost(self.pointer))
            self.pointer = 0


def copy_to_device(destination: int, source: int, size_bytes: int, stream: int) -> None:
    """Enqueue a copy from pinned host memory to the GPU."""
    from cuda.bindings import runtime as cudart

    _copy(destination, source, size_bytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)


def copy_to_host(destination: int, source: int, size_bytes: int, stream: int) -> None:
    """Enqueue a copy from the GPU to pinned host memory."""
    from cuda.bindings import runtime as cudart

    _copy(destination, source, size_bytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)


def copy_on_device(destination: int, source: int, size_bytes: int, stream: int) -> None:
    """Enqueue a copy within the GPU."""
    from cuda.bindings import runtime as cudart

    _copy(destination, source, size_bytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice, stream)


def _copy(destination: int, source: int, size_bytes: int, kind: "cudart.cudaMemcpyKind", stream: int) -> None:
    from cuda.bindings import runtime as cudart

    check(cudart.cudaMemcpyAsync(destination, source, size_bytes, kind, stream))


class Event:
    """A mark in a stream that can be waited for."""

    def __init__(self) -> None:
        from cuda.bindings import runtime as cudart

        # Without timing: such events cost less, and a thread that waits for this one sleeps.
        flags = cudart.cudaEventDisableTiming | cudart.cudaEventBlockingSync
        self._event: Any = check(cudart.cudaEventCreateWithFlags(flags))

    def record(self, stream: int) -> None:
        """Put the mark at the end of what is enqueued."""
        from cuda.bindings import runtime as cudart

        check(cudart.cudaEventRecord(self._event, stream))

    def done(self) -> bool:
        """Return whether everything before the mark is done."""
        from cuda.bindings import runtime as cudart

        (status,) = cudart.cudaEventQuery(self._event)
        if status == cudart.cudaError_t.cudaErrorNotReady:
            return False
        check((status,))
        return True

    def synchronise(self) -> None:
        """Wait until everything before the mark is done."""
        from cuda.bindings import runtime as cudart

        check(cudart.cudaEventSynchronize(self._event))

    def hold(self, stream: int) -> None:
        """Make another stream wait for the mark; this thread does not."""
        from cuda.bindings import runtime as cudart

        check(cudart.cudaStreamWaitEvent(stream, self._event, 0))

    def close(self) -> None:
        """Destroy the event. Calling it twice is fine."""
        from cuda.bindings import runtime as cudart

        if self._event is not None:
            check(cudart.cudaEventDestroy(self._event))
            self._event = None


class TimingEvent:
    """A mark in a stream that knows when it was passed."""

    def __init__(self) -> None:
        from cuda.bindings import runtime as cudart

        self._event: Any = check(cudart.cudaEventCreateWithFlags(cudart.cudaEventDefault))

    def record(self, stream: int) -> None:
        """Put the mark at the end of what is enqueued."""
        from cuda.bindings import runtime as cudart

        check(cudart.cudaEventRecord(self._event, stream))

    def since(self, earlier: "TimingEvent") -> float:
        """Return the milliseconds between two marks that were both passed, on the GPU's clock."""
        from cuda.bindings import runtime as cudart

        return float(check(cudart.cudaEventElapsedTime(earlier._event, self._event)))


class Graph:
    """A recorded series of copies and kernels, launched by one call."""

    def __init__(self, stream: Stream, record: Callable[[], None]) -> None:
        """Record what `record` enqueues on `stream`; nothing of it runs yet.

        Raises:
            EngineError: Something in it cannot be recorded.
        """
        from cuda.bindings import runtime as cudart

        # Thread-local: another thread may allocate memory meanwhile, which a global capture forbids.
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(cudart.cudaStreamBeginCapture(stream.handle, mode))
        try:
            record()
        except BaseException:
            # Ends the capture, so that the stream can be used again; its status is the failure's echo.
            cudart.cudaStreamEndCapture(stream.handle)
            raise
        graph = check(cudart.cudaStreamEndCapture(stream.handle))
        try:
            self._executable: Any = check(cudart.cudaGraphInstantiate(graph, 0))
        finally:
            check(cudart.cudaGraphDestroy(graph))

    def launch(self, stream: Stream) -> None:
        """Enqueue the whole series."""
        from cuda.bindings import runtime as cudart

        check(cudart.cudaGraphLaunch(self._executable, stream.handle))

    def close(self) -> None:
        """Destroy the graph. Calling it twice is fine."""
        from cuda.bindings import runtime as cudart

        if self._executable is not None:
            check(cudart.cudaGraphExecDestroy(self._executable))
            self._executable = None


def _device(index: int) -> GpuDevice:
    from cuda.bindings import runtime as cudart

    properties = check(cudart.cudaGetDeviceProperties(index))
    name = properties.name.decode(errors="replace").rstrip("\0")
    return GpuDevice(index, name, f"{properties.major}.{properties.minor}", int(properties.totalGlobalMem))


def _version(number: int) -> str:
    """Return CUDA's `1000 * major + 10 * minor` as `major.minor`; empty for 0, which means that there is none."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else ""
