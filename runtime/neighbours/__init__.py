"""Nearest neighbours among embeddings: what two networks agree on, and the accuracy of a vote among them."""
