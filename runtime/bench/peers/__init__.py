"""The libraries called without this project, and their own benchmark programs."""
