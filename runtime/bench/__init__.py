"""Latency and throughput that someone else can reproduce: `run-ssl bench`."""
