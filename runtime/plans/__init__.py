"""TensorRT plans: built from a bundle's ONNX in a process of their own, certified and explained."""
