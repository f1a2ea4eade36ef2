"""NumPy's files as strangers write them: whatever a damaged one makes NumPy raise is one error."""

import tokenize
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from runtime.support.files import check_plain

# NumPy warns of a header as Python 2 wrote it, which it reads all the same.
_OLD_HEADER = "Reading `.npy` or `.npz` file required additional header parsing"


def load_npy(source: Path | BinaryIO, *, mapped: bool = False) -> npt.NDArray[Any]:
    """Return the array of a `.npy` file; no pickle is run.

    Args:
        source: The file, or its bytes opened.
        mapped: Whether to map the file instead of reading it.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no `.npy`, is cut off, holds Python objects, or claims more memory than there is.
    """
    if isinstance(source, Path):
        check_plain(source)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _OLD_HEADER)
            array = np.load(source, mmap_mode="r" if mapped else None, allow_pickle=False)
    # NumPy parses the header as Python: as tokens first where it looks like one of Python 2.
    except (EOFError, OverflowError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise ValueError(f"its header is damaged ({type(error).__name__})") from error
    except MemoryError as error:
        raise ValueError("its header claims more than there is memory for") from error
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive of arrays, not one array")
    return array
