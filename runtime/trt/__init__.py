"""TensorRT: build a plan from a bundle's ONNX on the device that runs it, prove its precision, and check it before use."""
