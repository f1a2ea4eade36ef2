"""The C library with the onnxruntime back end alone, built for tests with a header that may be a stand-in.

Python's package has onnxruntime's library, and no header: one from elsewhere is taken where RNE_ONNXRUNTIME_INCLUDE
names its folder, or Debian's libonnxruntime-dev is installed; else `runtime/cpp/tests/standin` has what is called.
"""

import os
from pathlib import Path

from tests.helpers.cpp.build import SOURCE, TOGETHER, build_library, require_tools

HEADER = "onnxruntime_c_api.h"
STANDIN = SOURCE / "tests" / "standin"
_DEBIAN = Path("/usr/include/onnxruntime")
_OPTIONS = {"RNE_OPENVINO": "OFF", "RNE_ONNXRUNTIME": "ON"}


def onnxruntimes_header() -> Path | None:
    """Return the folder of onnxruntime's own header, or None where there is none."""
    named = os.environ.get("RNE_ONNXRUNTIME_INCLUDE")
    places = [Path(named)] if named else [_DEBIAN]
    return next((place for place in places if (place / HEADER).is_file()), None)


def runtime_library() -> Path:
    """Return libonnxruntime in Python's package."""
    import onnxruntime

    (found,) = (Path(onnxruntime.__path__[0]) / "capi").glob("libonnxruntime.so.*")
    return found


def build_with_onnxruntime(name: str, **options: str) -> Path:
    """Build and install the library with the onnxruntime back end alone, and return the prefix; skip without a tool.

    Args:
        name: Name of the build.
        **options: CMake variables beside the usual ones.
    """
    require_tools()
    header = {"OnnxRuntime_INCLUDE_DIR": str(onnxruntimes_header() or STANDIN)}
    return build_library(name, **_OPTIONS, **header, **TOGETHER, **options)
