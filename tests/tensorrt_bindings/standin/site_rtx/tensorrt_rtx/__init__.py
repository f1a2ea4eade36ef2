"""The stand-in of NVIDIA's `tensorrt_rtx`: the stand-in of TensorRT, with the names of TensorRT for RTX's interface."""

import tensorrt

__version__ = tensorrt.__version__
globals().update({name: value for name, value in vars(tensorrt).items() if not name.startswith("_")})
