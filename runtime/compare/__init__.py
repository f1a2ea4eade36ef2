"""The original and engines on the same labelled images, in one pass."""
