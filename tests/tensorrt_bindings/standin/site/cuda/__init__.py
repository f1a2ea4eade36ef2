"""The stand-in of NVIDIA's `cuda` package."""
