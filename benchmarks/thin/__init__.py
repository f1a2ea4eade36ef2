"""The thin runtime on small machines: what it takes of their disk and memory."""
