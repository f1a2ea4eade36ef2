"""DLPack capsules, written and read with ctypes.

Source: dmlc/dlpack, `include/dlpack/dlpack.h`, the unversioned `DLManagedTensor`, which every consumer reads.
"""

import ctypes
from typing import Any

import numpy as np

from runtime.errors import EngineError

# DLDeviceType.
CPU, CUDA = 1, 2
_NAME, _USED_NAME = b"dltensor", b"used_dltensor"
# DLDataTypeCode by NumPy's kind.
_CODES = {"i": 0, "u": 1, "f": 2}
_KINDS = {code: kind for kind, code in _CODES.items()}


class _Device(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _ManagedTensor(ctypes.Structure):
    """A tensor and the function that gives it back."""


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ManagedTensor))
_ManagedTensor._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# Prototypes of our own: those of ctypes.pythonapi are shared with the whole process.
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))
# In a destructor the capsule has no references left: as an address it is not counted, as an object it would be.
_is_valid_address = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

# What consumers still hold, by address: the structures, and the owner of the memory.
_lent: dict[int, tuple[Any, ...]] = {}


def _take_back(managed: Any) -> None:
    _lent.pop(ctypes.addressof(managed.contents), None)


def _destroy(capsule: int) -> None:
    # A consumer that took the tensor has renamed the capsule, and calls the deleter itself.
    if _is_valid_address(capsule, _NAME):
        _lent.pop(_pointer_address(capsule, _NAME), None)


# Held here: C keeps their addresses for as long as the process lives.
_TAKE_BACK, _DESTROY = _Deleter(_take_back), _Destructor(_destroy)


def export_dlpack(
    pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, device: tuple[int, int], owner: object
) -> object:
    """Return a capsule of a C-contiguous array.

    Args:
        pointer: Address of the array.
        shape: Shape of the array.
        dtype: An integer or floating-point type.
        device: DLPack's device type and number.
        owner: Object that is kept alive until the consumer lets go.
    """
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    kind = _DataType(_CODES[dtype.kind], dtype.itemsize * 8, 1)
    # No strides means C-contiguous.
    tensor = _Tensor(pointer, _Device(*device), len(shape), kind, sizes, None, 0)
    managed = _ManagedTensor(tensor, None, _TAKE_BACK)
    address = ctypes.addressof(managed)
    _lent[address] = (managed, sizes, owner)
    capsule: object = _new(address, _NAME, _DESTROY)
    return capsule


class _Borrowed:
    """Keeps another library's tensor until it is let go."""

    def __init__(self, managed: Any) -> None:
        self._managed = managed

    def __del__(self) -> None:
        deleter = self._managed.contents.deleter
        if deleter:
            deleter(self._managed)


def import_dlpack(capsule: object) -> tuple[int, tuple[int, ...], np.dtype[Any], object]:
    """Return address, shape, element type and owner of a capsule's array; the capsule is used up.

    Raises:
        EngineError: The object is no unused capsule, its type is none of NumPy's, or it is not C-contiguous.
    """
    if not _is_valid(capsule, _NAME):
        raise EngineError("the array's __dlpack__ gave no unused DLPack capsule: pass the array itself")
    managed = ctypes.cast(_pointer(capsule, _NAME), ctypes.POINTER(_ManagedTensor))
    _rename(capsule, _USED_NAME)
    owner, tensor = _Borrowed(managed), managed.contents.tensor
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    kind = _KINDS.get(tensor.dtype.code)
    if kind is None or tensor.dtype.lanes != 1 or tensor.dtype.bits % 8:
        raise EngineError(f"the array has DLPack type {tensor.dtype.code} of {tensor.dtype.bits} bits: expected uint8")
    step = 1
    for axis in reversed(range(tensor.ndim)):
        # A dimension of one has any stride, and so has an array of nothing.
        if tensor.strides and 0 not in shape and shape[axis] > 1 and tensor.strides[axis] != step:
            raise EngineError(f"the array {shape} is not C-contiguous: make it contiguous")
        step *= shape[axis]
    return int(tensor.data or 0) + int(tensor.byte_offset), shape, np.dtype(f"{kind}{tensor.dtype.bits // 8}"), owner
