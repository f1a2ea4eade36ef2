"""What every call of the runtime shares: the status in front, and checks of its arguments."""

import functools
from collections.abc import Callable
from typing import Any

from cuda.bindings._machine import MACHINE, CudaFault
from cuda.bindings._types import cudaError_t


def api(outputs: int = 0, *, device: bool = True) -> Callable[[Callable[..., Any]], Callable[..., tuple[Any, ...]]]:
    """Turn a function into one of the runtime's: (error, *outputs), with None for each output after an error."""

    def decorate(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
            with MACHINE.lock:
                try:
                    if device:
                        MACHINE.device()
                    result = function(*args, **kwargs)
                except CudaFault as fault:
                    return (fault.code, *([None] * outputs))
            values = () if outputs == 0 else (result,) if outputs == 1 else result
            return (cudaError_t.cudaSuccess, *values)

        return call

    return decorate


def check_enum(value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"Argument has incorrect type (expected {kind.__name__}, got {type(value).__name__})")


def check_size(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"an integer is required, not {type(value).__name__}")
    if value < 0:
        raise OverflowError("can't convert negative value to size_t")
    return int(value)
