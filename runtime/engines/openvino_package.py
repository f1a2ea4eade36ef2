"""OpenVINO's Python package, imported without the statistics that it sends."""

import sys
import threading
from types import ModuleType
from typing import Any, cast

import numpy as np

from runtime.errors import EngineError

_STATISTICS = "openvino_telemetry"
_importing = threading.Lock()


def import_openvino() -> Any:
    """Return the openvino module, which then sends nothing.

    At import OpenVINO's package (2026.4) reports to Google Analytics that it was imported, from a fork of this process,
    and keeps an identity below the home folder (`openvino/tools/ovc/__init__.py`). It does neither where its package
    openvino_telemetry cannot be imported. What a program imported before calling this stays as it is.

    The first conversion between types of NumPy and OpenVINO in a process is done here, in one thread: in two at once
    it can wait for itself for ever, since each holds what the other needs, Python's lock or that of C++'s tables.

    Raises:
        EngineError: OpenVINO is not installed.
    """
    with _importing:
        openvino = _import_silenced()
        openvino.Tensor(np.zeros(1, np.float32)).element_type.to_dtype()
    return openvino


def _import_silenced() -> Any:
    silenced = _STATISTICS not in sys.modules
    if silenced:
        # What Python takes for a module that cannot be imported.
        cast("dict[str, ModuleType | None]", sys.modules)[_STATISTICS] = None
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"OpenVINO cannot be imported ({error}): pip install 'export-ssl[cpu]'") from error
    finally:
        if silenced:
            # Other packages may import it.
            sys.modules.pop(_STATISTICS, None)
    return openvino
