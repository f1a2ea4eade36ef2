"""Whether a bundle keeps the neighbours that the original has."""
