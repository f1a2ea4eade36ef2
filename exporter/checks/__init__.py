"""Golden outputs, tolerances, and the check of each step against PyTorch."""
