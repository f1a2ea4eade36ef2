"""The stand-in of cuda-python's bindings: the part that the project uses."""

__version__ = "13.0.0"
