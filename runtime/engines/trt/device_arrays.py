"""Arrays on the GPU, passed in and out without a copy: `__dlpack__` and `__cuda_array_interface__`.

PyTorch, CuPy, JAX and Numba speak at least one of the two, so their arrays work and none of them is needed.

Source: the array API standard's data interchange (DLPack 0.8 structures, `dlpack.h`), and Numba's CUDA array
interface, version 3.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runtime.engines.trt.cuda_calls import Event
from runtime.engines.trt.dlpack import CPU, CUDA, export_dlpack, import_dlpack
from runtime.errors import EngineError

# The interface's name for CUDA's legacy default stream, on which work is that names no stream.
LEGACY_STREAM = 1


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array on the GPU.

    Attributes:
        pointer: Address of the array.
        shape: Shape of the array.
        dtype: Element type of the array.
        stream: Handle of the stream that writes it, or None where it is written already.
        device: CUDA's number of the GPU.
        owner: What keeps the memory alive.
        written: Marks the end of the writing in `stream`; None where it is written already.
        device_type: DLPack's device type.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None = None
    device: int = 0
    owner: object = field(default=None, repr=False)
    written: Event | None = field(default=None, repr=False)
    device_type: int = CUDA

    @property
    def size_bytes(self) -> int:
        """Its size."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array as Numba, CuPy and PyTorch's `as_tensor` read it."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "version": 3,
            "strides": None,
            "stream": self.stream,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's device type and number."""
        return self.device_type, self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Return the array as a capsule, as PyTorch's and NumPy's `from_dlpack` read it.

        Args:
            stream: Handle of the stream on which the consumer reads it; that stream waits for the writing. None is
                CUDA's legacy default stream, -1 asks for no waiting.
            max_version: Newest DLPack that the consumer reads.
            dl_device: Device that the consumer wants it on.
            copy: Whether the consumer insists on a copy.

        Raises:
            BufferError: The consumer wants a copy, or another device.
        """
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError("the array is shared where it is, on its GPU: copy it in the consumer")
        if self.written is not None and stream != -1:
            self.written.hold(LEGACY_STREAM if stream is None else stream)
        return export_dlpack(self.pointer, self.shape, self.dtype, device=self.__dlpack_device__(), owner=self)


def read_device_array(array: object, *, stream: int) -> DeviceArray:
    """Return an array of another library as it lies on the GPU, ready to be read on a stream.

    Args:
        array: Anything with `__dlpack__` or `__cuda_array_interface__`.
        stream: Handle of the stream that will read it, which is made to wait for the array's writer.

    Raises:
        EngineError: The array has neither protocol, is not on a GPU, or is not C-contiguous.
    """
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        kind, device = (int(part) for part in array.__dlpack_device__())
        if kind != CUDA:
            where = "on the CPU" if kind == CPU else f"on DLPack device type {kind}"
            raise EngineError(f"the array is {where}, expected a CUDA array: infer() takes host arrays")
        pointer, shape, dtype, owner = import_dlpack(array.__dlpack__(stream=stream))
        return DeviceArray(pointer, shape, dtype, device=device, owner=owner)
    if hasattr(array, "__cuda_array_interface__"):
        return _from_interface(array, stream=stream)
    raise EngineError(
        f"{type(array).__name__} is no array on a GPU: expected __dlpack__ or __cuda_array_interface__, as PyTorch's, "
        "CuPy's and Numba's CUDA arrays have; infer() takes host arrays"
    )


def _from_interface(array: Any, *, stream: int) -> DeviceArray:
    described = array.__cuda_array_interface__
    shape, dtype = tuple(int(size) for size in described["shape"]), np.dtype(described["typestr"])
    strides = described.get("strides")
    wanted = contiguous_strides(shape, dtype.itemsize)
    # A dimension of one has any stride.
    if strides is not None and any(size > 1 and a != b for size, a, b in zip(shape, strides, wanted, strict=True)):
        raise EngineError(f"the array {shape} has strides {tuple(strides)}, expected C-contiguous: make it contiguous")
    # Arrays that name no stream are written on the legacy default stream, for all that is known.
    writer = described.get("stream") or LEGACY_STREAM
    if writer != stream:
        event = Event()
        event.record(writer)
        event.hold(stream)
        event.close()
    return DeviceArray(int(described["data"][0]), shape, dtype, owner=array)


def contiguous_strides(shape: tuple[int, ...], item_bytes: int) -> tuple[int, ...]:
    """Return the strides in bytes of a C-contiguous array."""
    strides, step = [], item_bytes
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def stream_handle(stream: object) -> int:
    """Return the handle of a stream: an int, or PyTorch's, CuPy's or cuda-python's object.

    Raises:
        EngineError: The object is none of these.
    """
    protocol = getattr(stream, "__cuda_stream__", None)
    candidates = [protocol()[1]] if callable(protocol) else []
    candidates += [getattr(stream, attribute, None) for attribute in ("cuda_stream", "ptr")] + [stream]
    for candidate in candidates:
        if isinstance(candidate, int) or (hasattr(candidate, "__int__") and not isinstance(candidate, float)):
            # 0 is the default stream too, and DLPack takes only 1 for it.
            return int(candidate) or LEGACY_STREAM
    raise EngineError(f"{type(stream).__name__} is no CUDA stream: expected an int or a stream of PyTorch or CuPy")
