"""Labelled images: folders, labels, streams of timm and WebDataset, and batches of them."""
