"""Types of arrays, by what they hold. Shapes stand in the docstrings of what takes and gives them."""

from typing import Any

import numpy as np
import numpy.typing as npt

# Pictures, (N, H, W, C) or (H, W, C).
Pixels = npt.NDArray[np.uint8]
# What engines compute in, and what sums are taken in.
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating[Any]]
# Class indices and counts.
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
# A graph's input: pixels, or normalised floats.
Feed = npt.NDArray[np.generic]
