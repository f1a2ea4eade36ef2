"""Arrays passed by DLPack and the CUDA array interface, tried on the memory of CPU arrays: the protocol is the same."""

import ctypes
import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.dlpack import from_dlpack as torch_from_dlpack

from runtime.engines.trt.device_arrays import DeviceArray, contiguous_strides, read_device_array, stream_handle
from runtime.engines.trt.dlpack import CPU, CUDA
from runtime.errors import EngineError
from tests.helpers.device_memory import DTYPES, Owner, numbers

# NumPy's stub knows only consumers without a stream.
numpy_from_dlpack: Any = np.from_dlpack


def lend(array: np.ndarray[Any, Any]) -> tuple[DeviceArray, "weakref.ref[Owner]"]:
    """Return a device array over a CPU array's memory, and a watch on its owner."""
    owner = Owner(array)
    lent = DeviceArray(array.ctypes.data, array.shape, array.dtype, owner=owner, device_type=CPU)
    return lent, weakref.ref(owner)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_reads_what_was_lent_without_a_copy(dtype: str) -> None:
    lent, _ = lend(numbers(dtype))
    seen = numpy_from_dlpack(lent)
    np.testing.assert_array_equal(seen, numbers(dtype))
    assert (seen.dtype, seen.ctypes.data) == (np.dtype(dtype), lent.pointer)


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_reads_what_was_lent_without_a_copy(dtype: str) -> None:
    lent, _ = lend(numbers(dtype))
    seen = torch_from_dlpack(lent)
    assert (seen.data_ptr(), tuple(seen.shape), seen.is_contiguous()) == (lent.pointer, (2, 3, 4), True)
    np.testing.assert_array_equal(seen.numpy(), numbers(dtype))


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (1, 1, 5)], ids=str)
def test_any_shape_may_be_lent(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 7, np.float32)
    assert numpy_from_dlpack(lend(array)[0]).shape == shape
    assert tuple(torch_from_dlpack(lend(array)[0]).shape) == shape


@pytest.mark.parametrize("read", [numpy_from_dlpack, torch_from_dlpack], ids=["numpy", "torch"])
def test_memory_lives_as_long_as_its_reader_and_no_longer(read: Any) -> None:
    lent, watch = lend(numbers())
    seen = read(lent)
    del lent
    gc.collect()
    assert watch() is not None
    assert float(seen[1, 2, 3]) == 23
    del seen
    gc.collect()
    assert watch() is None


def test_readers_of_one_array_let_go_on_their_own() -> None:
    lent, watch = lend(numbers())
    first, second = numpy_from_dlpack(lent), torch_from_dlpack(lent)
    del lent, first
    gc.collect()
    assert watch() is not None
    del second
    gc.collect()
    assert watch() is None


def test_capsule_that_nobody_reads_lets_go() -> None:
    lent, watch = lend(numbers())
    capsule = lent.__dlpack__()
    del lent
    gc.collect()
    assert watch() is not None
    del capsule
    gc.collect()
    assert watch() is None


def test_writing_through_a_reader_reaches_the_memory() -> None:
    array = numbers()
    torch_from_dlpack(lend(array)[0]).fill_(9)
    assert (array == 9).all()


def test_copies_and_other_devices_are_left_to_the_reader() -> None:
    lent, _ = lend(numbers())
    with pytest.raises(BufferError, match="copy it in the consumer"):
        lent.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="copy it in the consumer"):
        lent.__dlpack__(dl_device=(CUDA, 0))
    assert numpy_from_dlpack(lent, copy=False, device="cpu").shape == (2, 3, 4)


class Event:
    """Remembers which streams were told to wait."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def hold(self, stream: int) -> None:
        self.held.append(stream)


@pytest.mark.parametrize(("stream", "held"), [(77, [77]), (1, [1]), (2, [2]), (None, [1]), (-1, [])])
def test_readers_stream_waits_for_the_writing_unless_it_asks_not_to(stream: int | None, held: list[int]) -> None:
    event: Any = Event()
    lent = DeviceArray(64, (1,), np.dtype(np.uint8), written=event)
    lent.__dlpack__(stream=stream)
    assert event.held == held


def test_array_on_a_gpu_says_so() -> None:
    array = DeviceArray(64, (2, 3), np.dtype(np.float32), device=1)
    assert array.__dlpack_device__() == (2, 1)
    assert array.size_bytes == 24


@pytest.mark.parametrize("stream", [None, 1, 0x7F00])
def test_cuda_array_interface_has_the_fields_of_version_3(stream: int | None) -> None:
    array = DeviceArray(0x7F0000000100, (2, 3), np.dtype(np.float32), stream=stream)
    assert array.__cuda_array_interface__ == {
        "shape": (2, 3),
        "typestr": "<f4",
        "data": (0x7F0000000100, False),
        "version": 3,
        "strides": None,
        "stream": stream,
    }


class OnGpu:
    """An array of another library that says it is on a GPU; its memory is a CPU array's."""

    def __init__(self, array: np.ndarray[Any, Any], kind: int = CUDA) -> None:
        self.array, self.kind = array, kind
        self.streams: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 3

    def __dlpack__(self, *, stream: int) -> object:
        self.streams.append(stream)
        return self.array.__dlpack__()


def test_array_of_another_library_is_read_where_it_lies_after_its_writer_heard_of_the_stream() -> None:
    array = OnGpu(numbers("uint8"))
    found = read_device_array(array, stream=77)
    assert (found.pointer, found.shape, found.dtype) == (array.array.ctypes.data, (2, 3, 4), np.dtype(np.uint8))
    assert (found.device, array.streams) == (3, [77])


@pytest.mark.parametrize("array", [numbers("uint8"), torch.zeros(2)], ids=["numpy", "torch"])
def test_host_array_is_sent_to_infer(array: object) -> None:
    with pytest.raises(
        EngineError, match=r"the array is on the CPU, expected a CUDA array: infer\(\) takes host array"
    ):
        read_device_array(array, stream=1)


def test_array_of_another_kind_of_device_is_refused_by_its_number() -> None:
    with pytest.raises(EngineError, match="the array is on DLPack device type 10, expected a CUDA array"):
        read_device_array(OnGpu(numbers(), 10), stream=1)


@pytest.mark.parametrize(("thing", "name"), [([[1, 2]], "list"), (None, "NoneType"), (b"pixels", "bytes")])
def test_what_is_no_array_is_refused_by_its_type(thing: object, name: str) -> None:
    with pytest.raises(EngineError, match=f"{name} is no array on a GPU: expected __dlpack__ or __cuda_array_interf"):
        read_device_array(thing, stream=1)


class Described:
    """An array that has the CUDA array interface alone; its stream is the reader's, so that no event is needed."""

    def __init__(self, **changes: Any) -> None:
        plain = {"shape": (2, 3), "typestr": "|u1", "data": (4096, True), "version": 3, "stream": 5}
        self.__cuda_array_interface__ = {**plain, **changes}


@pytest.mark.parametrize("changes", [{}, {"strides": None}, {"strides": (3, 1)}])
def test_cuda_array_interface_is_read(changes: dict[str, Any]) -> None:
    array = Described(**changes)
    found = read_device_array(array, stream=5)
    assert (found.pointer, found.shape, found.dtype) == (4096, (2, 3), np.dtype(np.uint8))
    assert found.owner is array


@pytest.mark.parametrize(("shape", "strides"), [((1, 3), (99, 1)), ((3, 1), (1, 0)), ((1, 1), (0, 0))])
def test_strides_of_dimensions_of_one_do_not_matter(shape: tuple[int, int], strides: tuple[int, int]) -> None:
    assert read_device_array(Described(shape=shape, strides=strides), stream=5).shape == shape


@pytest.mark.parametrize("strides", [(6, 2), (1, 2), (3, -1)])
def test_strided_cuda_array_is_refused(strides: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match=r"expected C-contiguous: make it contiguous"):
        read_device_array(Described(strides=strides), stream=5)


def test_strides_of_a_contiguous_array_are_numpys() -> None:
    array = numbers("float64")
    assert contiguous_strides(array.shape, 8) == array.strides
    assert contiguous_strides((), 8) == ()


class TorchStream:
    cuda_stream = 0x7F01


class CupyStream:
    ptr = 0x7F02


class ProtocolStream:
    ptr = 5

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 0x7F03


class CudaPythonStream:
    def __int__(self) -> int:
        return 0x7F04


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (0x7F00, 0x7F00),
        (1, 1),
        (0, 1),
        (TorchStream(), 0x7F01),
        (CupyStream(), 0x7F02),
        (ProtocolStream(), 0x7F03),
        (CudaPythonStream(), 0x7F04),
    ],
    ids=["int", "legacy", "default", "torch", "cupy", "protocol", "cuda-python"],
)
def test_stream_is_a_number_or_an_object_that_has_one(stream: object, handle: int) -> None:
    # CUDA's 0 is the legacy default stream, which DLPack calls 1 and forbids to call 0.
    assert stream_handle(stream) == handle


@pytest.mark.parametrize("stream", ["7", None, object(), [1], ctypes.c_void_p(5)])
def test_what_is_no_stream_is_refused_by_its_type(stream: object) -> None:
    with pytest.raises(EngineError, match=rf"{type(stream).__name__} is no CUDA stream: expected an int"):
        stream_handle(stream)
