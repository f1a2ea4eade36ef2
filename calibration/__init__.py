"""Activation ranges of an ONNX graph over real images."""
