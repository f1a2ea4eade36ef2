"""Reading, checking, editing and running an ONNX graph."""
