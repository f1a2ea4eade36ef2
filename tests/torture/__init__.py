"""Tries to break what people put on devices, and counts: `make torture` runs all of it."""
