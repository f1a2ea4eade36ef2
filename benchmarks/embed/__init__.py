"""Embedding jobs: rates, memory, and what Ray costs."""
