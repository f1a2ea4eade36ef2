"""The engines by name, and the distributions that each comes from.

Nothing is imported here, so that the help of the command line can list them.
"""

# An engine's version is that of the one that is installed. In the order in which messages list them.
DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu12"),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "pytorch": ("torch",),
}
