"""TensorRT at run time: plans checked before use, lanes of contexts, streams and buffers."""
