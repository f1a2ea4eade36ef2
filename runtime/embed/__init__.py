"""Embeddings of many images, and whether a search over them still finds the neighbours that PyTorch's finds."""
