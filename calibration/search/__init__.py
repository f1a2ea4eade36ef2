"""Candidates: what they are made of, which is kept, and what is recorded of the choice."""
