"""DLPack capsules, read and written, with NumPy and PyTorch on the other side."""

import ctypes
import gc
import sys
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from runtime.engines.trt.dlpack import CPU, export_dlpack, import_dlpack
from runtime.errors import EngineError
from tests.helpers.device_memory import DTYPES, Owner, numbers


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpys_capsule_is_read(dtype: str) -> None:
    array = numbers(dtype)
    pointer, shape, found, _owner = import_dlpack(array.__dlpack__())
    assert (pointer, shape, found) == (array.ctypes.data, (2, 3, 4), np.dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_torchs_capsule_is_read(dtype: str) -> None:
    tensor = torch.from_numpy(numbers(dtype))
    pointer, shape, found, _owner = import_dlpack(tensor.__dlpack__())
    assert (pointer, shape, found) == (tensor.data_ptr(), (2, 3, 4), np.dtype(dtype))


def test_view_that_begins_later_is_read_from_where_it_begins() -> None:
    array, tensor = numbers(), torch.arange(24).reshape(2, 3, 4)
    assert import_dlpack(array[1].__dlpack__())[:2] == (array.ctypes.data + 48, (3, 4))
    assert import_dlpack(tensor[1].__dlpack__())[:2] == (tensor.data_ptr() + 96, (3, 4))


def test_offset_in_bytes_is_added_to_the_address() -> None:
    array = numbers("uint8")
    capsule = array.__dlpack__()
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )(capsule, b"dltensor")
    # DLTensor by dlpack.h: data, device, ndim, dtype, shape and strides come first, 40 bytes.
    ctypes.c_uint64.from_address(pointer + 40).value = 8
    assert import_dlpack(capsule)[0] == array.ctypes.data + 8


def test_dimension_of_one_may_have_any_stride() -> None:
    array = numbers()
    assert import_dlpack(array[:, :1].transpose(1, 0, 2)[:, :1].__dlpack__())[1] == (1, 1, 4)
    assert import_dlpack(torch.zeros(4, 6)[:, 0:1].t()[:, :1].__dlpack__())[1] == (1, 1)


def test_empty_array_is_contiguous() -> None:
    assert import_dlpack(torch.zeros(0, 3).__dlpack__())[1] == (0, 3)
    assert import_dlpack(np.zeros((2, 0, 3), np.uint8).__dlpack__())[1] == (2, 0, 3)


@pytest.mark.parametrize(
    "array",
    [
        numbers()[:, ::2],
        numbers().transpose(0, 2, 1),
        numbers()[..., :2],
        torch.zeros(2, 3).t(),
        torch.zeros(1, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.zeros(3, 1).expand(3, 4),
        numbers()[::-1],
    ],
    ids=["every-second", "transposed", "columns", "torch-transposed", "channels-last", "expanded", "reversed"],
)
def test_array_with_gaps_is_refused(array: Any) -> None:
    with pytest.raises(EngineError, match=r"is not C-contiguous: make it contiguous"):
        import_dlpack(array.__dlpack__())


@pytest.mark.parametrize(
    "tensor", [torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.complex64), torch.zeros(2) > 0]
)
def test_type_that_numpy_lacks_or_that_is_no_number_is_refused(tensor: Any) -> None:
    with pytest.raises(EngineError, match=r"the array has DLPack type \d+ of \d+ bits: expected uint8"):
        import_dlpack(tensor.__dlpack__())


def test_used_capsule_is_refused() -> None:
    array = numbers()
    capsule = array.__dlpack__()
    import_dlpack(capsule)
    with pytest.raises(EngineError, match="gave no unused DLPack capsule"):
        import_dlpack(capsule)


@pytest.mark.parametrize("thing", [None, 5, b"dltensor", object()])
def test_what_is_no_capsule_is_refused(thing: object) -> None:
    with pytest.raises(EngineError, match="gave no unused DLPack capsule"):
        import_dlpack(thing)


def test_versioned_capsule_is_refused_and_stays_its_readers() -> None:
    array = numbers()
    capsule = array.__dlpack__(max_version=(1, 0))
    with pytest.raises(EngineError, match="gave no unused DLPack capsule"):
        import_dlpack(capsule)


def test_borrowed_array_is_given_back_when_its_owner_is_let_go() -> None:
    array = numbers()
    before = sys.getrefcount(array)
    *_, owner = import_dlpack(array.__dlpack__())
    assert sys.getrefcount(array) == before + 1
    del owner
    gc.collect()
    assert sys.getrefcount(array) == before


def test_refused_array_is_given_back() -> None:
    base = numbers()
    view = base[:, ::2]
    before = sys.getrefcount(view)
    with pytest.raises(EngineError):
        import_dlpack(view.__dlpack__())
    gc.collect()
    assert sys.getrefcount(view) == before


def test_export_and_import_are_each_others_inverse() -> None:
    array = numbers("uint8")
    watched = Owner(array)
    watch = weakref.ref(watched)
    capsule = export_dlpack(array.ctypes.data, array.shape, array.dtype, device=(CPU, 0), owner=watched)
    del watched
    pointer, shape, dtype, owner = import_dlpack(capsule)
    assert (pointer, shape, dtype) == (array.ctypes.data, (2, 3, 4), np.dtype(np.uint8))
    del capsule
    gc.collect()
    assert watch() is not None
    del owner
    gc.collect()
    assert watch() is None
