"""The engines by name, and the distributions that each comes from.

Nothing is imported here, so that the help of the command line can list them.
"""

from typing import Literal

# The engines that run a plan, which `run-ssl build` makes of a bundle; a bundle may hold one of each.
PlanEngine = Literal["tensorrt", "tensorrt-rtx"]
# What an INT8 graph is written for; `calibration/options.py` says how they differ.
Int8Target = Literal["tensorrt", "rtx", "cpu"]

# An engine's version is that of the one that is installed. In the order in which messages list them.
DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu12"),
    "tensorrt-rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "pytorch": ("torch",),
}
