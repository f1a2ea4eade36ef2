"""The first bytes of a plan: whether it is one, and which TensorRT wrote it.

    bytes 0 to 3    `ftrt`, or `vtrt` of TensorRT for RTX
    bytes 4 to 7    serialisation version, 32-bit little-endian; 0 is the only one known
    bytes 24 to 27  TensorRT's major, minor, patch and build, one byte each

Source: NVIDIA/TensorRT, samples/common/sampleEngines.cpp, `printPlanVersion`, 9.1 to 11.1, and plans that TensorRT for
RTX 1.7 built. The GPU is not in it.
"""

import json
import struct

from runtime.engines.trt.library import LIBRARIES, TENSORRT, Library
from runtime.engines.trt.versions import Version
from runtime.errors import BundleError

_HEADER_BYTES = 28
# Ultralytics writes its metadata, JSON, and their length before the plan.
_LONGEST_WRAPPER_BYTES = 1 << 20


def read_plan_header(plan: bytes, *, name: str, library: Library = TENSORRT) -> Version:
    """Return the version of the library that wrote a plan.

    Args:
        plan: The plan, or as much of its beginning as there is.
        name: The file's name, for the messages.
        library: The library that the plan should be for.

    Raises:
        BundleError: The file is no plan, a truncated one, a wrapped one, of another library, or of a serialisation
            that is not known.
    """
    rebuild = "build it again with `run-ssl build" + ("`" if library is TENSORRT else f" --engine {library.engine}`")
    if _is_wrapped(plan):
        raise BundleError(
            f"{name} has JSON before the plan, as Ultralytics writes it: no TensorRT loader reads that; "
            f"cut the wrapper off, or {rebuild}"
        )
    other = next((one for one in LIBRARIES.values() if plan.startswith(one.tag)), None)
    if other is None:
        raise BundleError(
            f"{name} is not a {library.label} plan: it begins with {plan[:4]!r}, not {library.tag!r}; {rebuild}"
        )
    if other is not library:
        raise BundleError(
            f"{name} is a plan of {other.label}, which {library.label} does not load: {other.label}'s is named "
            f"{other.files.plan}; {rebuild}"
        )
    if len(plan) < _HEADER_BYTES:
        raise BundleError(f"{name} has {len(plan)} bytes, less than a plan's header: it is truncated; {rebuild}")
    (serialisation,) = struct.unpack_from("<I", plan, 4)
    if serialisation:
        raise BundleError(
            f"{name} has serialisation version {serialisation}, expected 0: it is from a {library.label} that this "
            f"run-ssl does not know; {rebuild} and the {library.label} that is installed"
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
