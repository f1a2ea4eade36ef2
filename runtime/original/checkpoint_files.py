"""The two formats of checkpoint files, opened so that no code of theirs runs.

A pickle is a program. `torch.load(weights_only=True)` executes only the part of it that builds tensors
and containers; anything else is refused here with the way out, a safetensors file.
"""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

from runtime.errors import CheckpointError

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".tar")

# Of PyTorch's and safetensors' own reasons, which may be long.
_REASON_LENGTH = 160
_ZIP_START = b"PK\x03\x04"
_PICKLE_START = b"\x80"
# Where PyTorch's message names what it refuses to call: `GLOBAL posix.system`.
_REFUSED = re.compile(r"GLOBAL (\S+)")
# What PyTorch's reader raises on bytes that are no checkpoint: it does not wrap the parser's errors.
_DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    MemoryError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_safetensors(path: Path) -> object:
    """Return the tensors of a safetensors file by name.

    Raises:
        CheckpointError: The file is truncated or is not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(_damaged(path, str(error))) from error


def read_pickle(path: Path) -> object:
    """Return what a PyTorch checkpoint holds, tensors mapped from the file where its format allows it.

    `argparse.Namespace`, a holder of values that timm's training script stores, is let through.

    Raises:
        CheckpointError: The file is truncated, damaged, or holds code.
    """
    import torch

    try:
        zipped = _check_zip(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # PyTorch warns about pickle protocols that it then refuses.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused(path, str(error))) from error
    except _DAMAGE as error:
        raise CheckpointError(_damaged(path, str(error) or type(error).__name__)) from error


def _refused(path: Path, message: str) -> str:
    """Return the line for a file that PyTorch's restricted unpickler does not take."""
    named = _REFUSED.search(message)
    with path.open("rb") as file:
        start = file.read(len(_ZIP_START))
    if named is None and not start.startswith((_ZIP_START, _PICKLE_START)):
        return _damaged(path, "it is no pickle")
    asks = f"asks to run {named[1]}" if named else "is not of tensors alone"
    return (
        f"{path} is a pickle that {asks}: nothing was run; expected tensors only: if you trust the file, convert "
        "it to safetensors, or save model.state_dict()"
    )


def _check_zip(path: Path) -> bool:
    """Return whether a file is PyTorch's zip format; its checksums are checked, as PyTorch does not.

    Raises:
        zipfile.BadZipFile: The file begins as a zip file but is truncated, or a checksum differs.
    """
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) != _ZIP_START:
            return False
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of its record {damaged} differs")
    return True


def _damaged(path: Path, reason: str) -> str:
    first = (reason.strip().splitlines() or ["no reason given"])[0]
    return f"{path} is truncated, damaged or no checkpoint ({first[:_REASON_LENGTH]}): fetch or save it again"
