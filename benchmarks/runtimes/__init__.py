"""Other programs that run a bundle's `model.onnx`."""
