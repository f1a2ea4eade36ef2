"""NVIDIA's Python interface of TensorRT, version by version, and type stubs written from it."""
