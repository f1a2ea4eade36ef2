"""The stand-in of NVIDIA's `tensorrt`: every name comes from the interface file of the version that is asked for."""

import sys

from tensorrt._interface import RTX

if RTX and "tensorrt_rtx" not in sys.modules:
    raise ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt")

from tensorrt import _builder, _engine, _network
from tensorrt._interface import API, build_namespace

__version__ = API["version"]

globals().update(build_namespace({**_network.STATES, **_builder.STATES, **_engine.STATES}))
