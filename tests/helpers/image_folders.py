"""Small image folders for tests."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def picture(seed: int) -> npt.NDArray[np.uint8]:
    """Return the picture that `write_picture` writes, (12, 16, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)


def write_picture(path: Path, seed: int = 0) -> Path:
    """Write a small lossless picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, format="PNG")
    return path
