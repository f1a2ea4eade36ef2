"""The cache that can repeat a calibration.

A cache (`--calib-cache FILE`) is a zip archive of the bundle's calibration.json and, as plain .npy arrays, what else
the graph is made of:

    calibration.json
    factors/<tensor>.npy        channel factors of the equalisation, (C,) float64
    weight/<layer>.npy          INT8 weight
    weight_scale/<layer>.npy    (K,) float32
    bias/<layer>.npy            (K,) float32, where it was corrected

The same calibration gives the same bytes: no time stamps, no paths of this machine.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from calibration.images.fingerprint import first_difference
from runtime.bundle.calibration_json import Calibration, Fingerprint
from runtime.bundle.layout import CALIBRATION_FILE
from runtime.errors import CalibrationError
from runtime.support.files import atomic_file, open_plain
from runtime.support.npy import load_npy

Arrays = Mapping[str, npt.NDArray[Any]]

_ALWAYS = (1980, 1, 1, 0, 0, 0)
# What damaged bytes make zipfile, NumPy and pydantic raise. RuntimeError: encryption, or an unknown compression;
# MemoryError: a header that claims an impossible shape.
_DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    RuntimeError,
    ValueError,
    ValidationError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_cache(path: Path, calibration: Calibration, arrays: Arrays) -> None:
    """Write a cache, whole or not at all.

    Raises:
        BundleError: The file cannot be written.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(CALIBRATION_FILE, _ALWAYS), calibration.to_bytes())
        for name, array in sorted(arrays.items()):
            written = io.BytesIO()
            np.lib.format.write_array(written, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ALWAYS), written.getvalue())
    with atomic_file(path) as file:
        file.write(content.getvalue())


def read_cache(path: Path, expected: Fingerprint) -> tuple[Calibration, dict[str, npt.NDArray[Any]]]:
    """Return what a cache holds, if it was made from the same.

    Raises:
        CalibrationError: The cache is damaged, or belongs to something else; the message names what differs.
    """
    try:
        with open_plain(path) as file, zipfile.ZipFile(file) as archive:
            calibration = Calibration.model_validate_json(archive.read(CALIBRATION_FILE))
            arrays = {
                name.removesuffix(".npy"): load_npy(io.BytesIO(archive.read(name)))
                for name in archive.namelist()
                if name != CALIBRATION_FILE
            }
        _check_complete(calibration, arrays)
    except _DAMAGED as error:
        # zipfile raises a bare EOFError for a member that ends too soon.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CalibrationError(
            f"{path} is not a calibration cache ({reason}): delete it, and the next export writes a new one"
        ) from error
    difference = first_difference(expected, calibration.fingerprint)
    if difference is not None:
        raise CalibrationError(
            f"{path} is the calibration of something else: {difference}; pass another --calib-cache, or delete it "
            "to calibrate again"
        )
    return calibration, arrays


def check_cache_target(path: Path) -> None:
    """Refuse a cache that cannot be written, before any long work is done for it.

    Raises:
        CalibrationError: The cache's folder is absent or cannot be written, or the cache is a folder itself.
    """
    if path.is_dir():
        raise CalibrationError(f"{path} is a directory: expected a file; pass --calib-cache {path / 'calibration.zip'}")
    if not path.parent.is_dir():
        raise CalibrationError(f"{path.parent} is not a directory: create it first, or pass another --calib-cache")
    # A cache that exists is only read, which a read-only folder allows.
    if not path.exists() and not os.access(path.parent, os.W_OK):
        raise CalibrationError(
            f"cannot write into {path.parent}: change its permissions, or pass another --calib-cache"
        )


def _check_complete(calibration: Calibration, arrays: Arrays) -> None:
    for layer in calibration.layers:
        for kind in ("weight", "weight_scale"):
            if f"{kind}/{layer}" not in arrays:
                raise KeyError(f"{kind}/{layer}.npy is missing")
