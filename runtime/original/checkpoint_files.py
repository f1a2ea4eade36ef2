"""The formats of checkpoint files, told by what is in a file, and opened so that no code of theirs runs.

1. safetensors: a length and a header in JSON.
2. PyTorch's zip file, and the pickle that it wrote before 2020. A pickle is a program:
   `torch.load(weights_only=True)` executes only the part of it that builds tensors and containers.
3. Values that training scripts keep beside the tensors are let through as stand-ins that keep nothing, so that no
   library is called with what a stranger's file holds.
4. Anything else is refused with the way out.

A file's name does not matter: `.ckpt`, `.bin` and no ending at all are as good as `.pth`.
"""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.errors import CheckpointError

EXPECTED = "expected a checkpoint in PyTorch's format or safetensors"
ONE_FILE = "pass one file with all weights, which the network's library writes when it saves the loaded network again"

# Of PyTorch's and safetensors' own reasons, which may be long.
_REASON_LENGTH = 160
_ZIP_START = b"PK\x03\x04"
_PICKLE_START = b"\x80"
# safetensors: the header's length, 8 bytes, then the header, which is a JSON object. The limit is safetensors' own.
_LENGTH_BYTES = 8
_HEADER_LIMIT = 100_000_000
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

# What other files begin with, what they are, and what helps.
_OTHER_FILES = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "fetch it with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", "save the PyTorch network's state_dict()"),
    (b"\x1f\x8b", "compressed by gzip", "decompress it first"),
    (b"<!DOCTYPE", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
)
# A record of a zip file that only this kind has, what the kind is, and what helps.
_OTHER_ZIPS = (
    (
        "constants.pkl",
        "TorchScript, which holds code beside the weights; nothing was run",
        "if you trust it, save torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')",
    ),
    (
        "archive_format",
        "a program of torch.export; nothing was run",
        "if you trust it, save torch.save(torch.export.load(FILE).state_dict, 'weights.pth')",
    ),
)


class _Ignored(list[Any]):
    """The stand-in for a value beside the tensors: it may be built, filled and set up, and keeps nothing of use."""

    def __init__(self, *_arguments: object) -> None:
        super().__init__()

    def __setstate__(self, _state: object) -> None:
        """Keep nothing."""

    # A value may be a key, or an element of a set.
    __hash__ = object.__hash__  # type: ignore[assignment]


class _Mapping(dict[Any, Any]):
    """The stand-in for a kind of dict: a plain one, which may hold a state dict as well as values."""

    def __new__(cls, *_arguments: object) -> "dict[Any, Any]":  # type: ignore[misc]
        """Return a plain dict: PyTorch fills no other."""
        return {}


class _Sequence(list[Any]):
    """The stand-in for a kind of list: a plain one."""

    def __new__(cls, *_arguments: object) -> "list[Any]":  # type: ignore[misc]
        """Return a plain list: from 2.15 on PyTorch fills no other."""
        return []


# Source: the globals in files that NumPy 1 and 2, Lightning 2.6, mmengine 0.10, OmegaConf 2.3, fastai 2.8 (beside the
# optimiser's state) and the standard library write, as `torch.serialization.get_unsafe_globals_in_checkpoint` lists
# them. mmengine's `getattr` is bound to the stand-in too: nothing is looked up.
_VALUES = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.random._pickle.__{kind}_ctor" for kind in ("generator", "bit_generator", "randomstate")),
    *(f"numpy.random.{kind}" for kind in ("_pcg64.PCG64", "_mt19937.MT19937", "bit_generator.SeedSequence")),
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
    *(f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    *(f"pathlib._local.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    *(f"datetime.{kind}" for kind in ("datetime", "date", "timedelta")),
    "types.SimpleNamespace",
    "typing.Any",
    *(f"builtins.{kind}" for kind in ("frozenset", "slice", "int", "float", "str", "getattr")),
    *(f"omegaconf.base.{kind}" for kind in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean", "Enum", "Path")),
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "fastcore.foundation.L",
)
_SEQUENCES = ("collections.deque", "builtins.list")
_MAPPINGS = (
    "builtins.dict",
    "collections.defaultdict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "easydict.EasyDict",
)


def read_content(path: Path) -> object:
    """Return what a checkpoint file holds: tensors by name, mostly in dicts, mapped from the file where that goes.

    Raises:
        CheckpointError: The file is truncated, damaged, of another kind, or holds code.
    """
    with path.open("rb") as file:
        start = file.read(64)
    for beginning, kind, advice in _OTHER_FILES:
        if start.startswith(beginning):
            raise CheckpointError(f"{path} is {kind}: {EXPECTED}; {advice}")
    return _read_safetensors(path) if _is_safetensors(path, start) else _read_pickle(path, start)


def _is_safetensors(path: Path, start: bytes) -> bool:
    """Return whether a file is safetensors; a truncated one is too."""
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    named = path.suffix.lower() == ".safetensors" and not start.startswith((_ZIP_START, _PICKLE_START))
    return named or (start[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{" and 2 <= length <= _HEADER_LIMIT)


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(_damaged(path, str(error))) from error


def _read_pickle(path: Path, start: bytes) -> object:
    """Return what a file of `torch.save` holds."""
    import torch

    known: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        argparse.Namespace,
        *((_Ignored, name) for name in _VALUES),
        *((_Sequence, name) for name in _SEQUENCES),
        *((_Mapping, name) for name in _MAPPINGS),
    ]
    try:
        zipped = _check_zip(path, start)
        with torch.serialization.safe_globals(known), warnings.catch_warnings():
            # PyTorch warns about pickle protocols that it then refuses.
            warnings.simplefilter("ignore")
            if path.suffix.lower() == ".safetensors":
                # PyTorch 2.14 goes by this ending, and would read a pickle of that name as safetensors.
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused(path, start, str(error))) from error
    except _DAMAGE as error:
        raise CheckpointError(_damaged(path, str(error) or type(error).__name__)) from error


def _refused(path: Path, start: bytes, message: str) -> str:
    """Return the line for a file that PyTorch's restricted unpickler does not take."""
    named = _REFUSED.search(message)
    if named is None and not start.startswith((_ZIP_START, _PICKLE_START)):
        if start.lstrip().startswith((b"{", b"[")):
            return f"{path} is text in JSON, such as the index of weights in several files: {EXPECTED}; {ONE_FILE}"
        return _damaged(path, "it is no pickle")
    asks = f"asks to run {named[1]}" if named else "is not of tensors alone"
    if named and named[1].startswith("fastai."):
        advice = "save torch.save(fastai.learner.load_learner(FILE).model.state_dict(), 'weights.pth')"
    else:
        advice = "convert it to safetensors, or save model.state_dict()"
    return f"{path} is a pickle that {asks}: nothing was run; expected tensors only: if you trust the file, {advice}"


def _check_zip(path: Path, start: bytes) -> bool:
    """Return whether a file is PyTorch's zip format; its checksums are checked, as PyTorch does not.

    Raises:
        CheckpointError: The file is a zip file of another kind.
        zipfile.BadZipFile: The file begins as a zip file but is truncated, or a checksum differs.
    """
    if not start.startswith(_ZIP_START):
        return False
    with zipfile.ZipFile(path) as archive:
        records = {name.rpartition("/")[2] for name in archive.namelist()}
        for record, kind, advice in _OTHER_ZIPS:
            if record in records:
                raise CheckpointError(f"{path} is {kind}: {EXPECTED}; {advice}")
        if "data.pkl" not in records:
            raise CheckpointError(
                f"{path} is a zip file of {', '.join(sorted(records)[:3])}: {EXPECTED}; extract the checkpoint from it"
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of its record {damaged} differs")
    return True


def _damaged(path: Path, reason: str) -> str:
    first = (reason.strip().splitlines() or ["no reason given"])[0]
    return (
        f"{path} is truncated, damaged or no checkpoint ({first[:_REASON_LENGTH]}): {EXPECTED}; fetch or save it again"
    )
