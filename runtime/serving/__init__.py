"""Repositories that NVIDIA Triton and OpenVINO Model Server serve a bundle from."""
