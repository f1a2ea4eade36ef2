"""Repositories that NVIDIA Triton and OpenVINO Model Server serve a bundle from.

Triton's layout and its `config.pbtxt` are all that is written here, and the model server reads the same folders. Other
servers have no place in this package: theirs would be a package of its own.
"""
