"""Arrays that tests lend as a device's memory, and an owner that can be watched."""

from typing import Any

import numpy as np

DTYPES = ("uint8", "int8", "int32", "int64", "float16", "float32", "float64")


class Owner:
    """Something that memory belongs to, and that can be watched."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array


def numbers(dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Return the numbers from 0 to 23, (2, 3, 4)."""
    return np.arange(24).reshape(2, 3, 4).astype(dtype)
