"""Small value classes: Dims, and host memory that Python reads through the buffer protocol."""

from typing import Any

from tensorrt._interface import State, enum


class DimsState(State):
    """A shape of at most 8 dimensions."""

    interface = "Dims"
    MAX_DIMS = 8

    def __init__(self, shape: Any = ()):
        self.values = [int(value) for value in (shape.values if isinstance(shape, DimsState) else shape)]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        found = self.values[index]
        return tuple(found) if isinstance(found, list) else found

    def __setitem__(self, index: Any, value: Any) -> None:
        self.values[index] = value

    def __eq__(self, other: object) -> bool:
        values = other.values if isinstance(other, DimsState) else other
        return list(values) == self.values  # type: ignore[call-overload,no-any-return]

    __hash__ = None  # type: ignore[assignment]


class HostMemory(bytearray):
    """IHostMemory: a buffer with `nbytes` and `dtype` and nothing else.

    Before Python 3.12 only a C type can offer a buffer, hence the base; its methods are hidden.
    """

    __module__ = "tensorrt"
    _VISIBLE = frozenset(("nbytes", "dtype"))

    def __getattribute__(self, name: str) -> Any:
        if name == "nbytes":
            return bytearray.__len__(self)
        if name == "dtype":
            return enum("DataType.INT8")
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise AttributeError(f"'IHostMemory' object has no attribute {name!r}")

    def __enter__(self) -> "HostMemory":
        return self

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        pass

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __getitem__(self, index: object) -> Any:
        raise TypeError("'IHostMemory' object is not subscriptable")

    def __iter__(self) -> Any:
        raise TypeError("'IHostMemory' object is not iterable")

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]


HostMemory.__name__ = HostMemory.__qualname__ = "IHostMemory"
