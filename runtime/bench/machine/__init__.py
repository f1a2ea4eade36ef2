"""The machine that is measured: what it is, how noisy, how busy."""
