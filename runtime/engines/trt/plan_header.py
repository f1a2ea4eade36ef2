"""The first bytes of a plan: whether it is one, and which TensorRT wrote it.

    bytes 0 to 3    `ftrt`
    bytes 4 to 7    serialisation version, 32-bit little-endian; 0 is the only one known
    bytes 24 to 27  TensorRT's major, minor, patch and build, one byte each

Source: NVIDIA/TensorRT, samples/common/sampleEngines.cpp, `printPlanVersion`, 9.1 to 11.1. The GPU is not in it.
"""

import json
import struct

from runtime.engines.trt.versions import Version
from runtime.errors import BundleError

_TAG = b"ftrt"
_HEADER_BYTES = 28
_REBUILD = "build it again with `run-ssl build`"
# Ultralytics writes its metadata, JSON, and their length before the plan.
_LONGEST_WRAPPER_BYTES = 1 << 20


def read_plan_header(plan: bytes, *, name: str) -> Version:
    """Return the version of TensorRT that wrote a plan.

    Args:
        plan: The plan, or as much of its beginning as there is.
        name: The file's name, for the messages.

    Raises:
        BundleError: The file is no plan, a truncated one, a wrapped one, or of a serialisation that is not known.
    """
    if _is_wrapped(plan):
        raise BundleError(
            f"{name} has JSON before the plan, as Ultralytics writes it: no TensorRT loader reads that; "
            f"cut the wrapper off, or {_REBUILD}"
        )
    if not plan.startswith(_TAG):
        raise BundleError(f"{name} is not a TensorRT plan: it begins with {plan[:4]!r}, not {_TAG!r}; {_REBUILD}")
    if len(plan) < _HEADER_BYTES:
        raise BundleError(f"{name} has {len(plan)} bytes, less than a plan's header: it is truncated; {_REBUILD}")
    (serialisation,) = struct.unpack_from("<I", plan, 4)
    if serialisation:
        raise BundleError(
            f"{name} has serialisation version {serialisation}, expected 0: it is from a TensorRT that this "
            f"run-ssl does not know; {_REBUILD} and the TensorRT that is installed"
        )
    return Version(*plan[24:28])


def _is_wrapped(plan: bytes) -> bool:
    """Return whether a length and that many bytes of JSON come first."""
    if len(plan) < 5 or plan[4:5] != b"{":
        return False
    (length,) = struct.unpack_from("<i", plan)
    if not 2 <= length <= _LONGEST_WRAPPER_BYTES:
        return False
    if len(plan) < 4 + length:
        return True
    try:
        json.loads(plan[4 : 4 + length])
    except ValueError:
        return False
    except RecursionError:
        # Nested too deep for Python's parser, and no plan either way.
        return True
    return True
