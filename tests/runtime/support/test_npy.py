"""Test that a file of NumPy's is read without a word beside its array."""

import struct
import warnings
from pathlib import Path

import numpy as np

from runtime.support.npy import load_npy


def test_a_header_as_python_2_wrote_it_is_read_without_a_warning(tmp_path: Path) -> None:
    # Its long integers end in L; the format is numpy.lib.format's, version 1.0.
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (3L,), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    values = np.arange(3, dtype="<i4")
    file = tmp_path / "old.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values.tobytes())
    with warnings.catch_warnings(record=True) as said:
        np.testing.assert_array_equal(load_npy(file), values)
        np.testing.assert_array_equal(load_npy(file, mapped=True), values)
    assert said == []
