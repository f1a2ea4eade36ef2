"""INT8 calibration: an ONNX ResNet and a folder of images in, explicit Q/DQ out."""
