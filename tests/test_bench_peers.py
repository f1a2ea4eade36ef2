"""Peers compute what our engines compute, and what their programs print is read right."""
