"""TensorRT: build a plan from a bundle's ONNX on its device, prove its precision, check it before use."""
