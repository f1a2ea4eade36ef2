"""The PyTorch original of a bundle: its weights, its network, its FLOPs. Needs the `export` extra."""
