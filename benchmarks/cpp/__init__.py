"""The C library: latency and preprocessing."""
