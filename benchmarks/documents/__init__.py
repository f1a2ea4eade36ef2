"""Figures and outputs in the documents, filled from real runs."""
