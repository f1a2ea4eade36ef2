"""Engines: pixels in, logits and embedding out; one file for each, and how one is opened by name."""
