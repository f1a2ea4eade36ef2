"""Statistics of a benchmark: percentiles, intervals, ratios, the throughput curve."""
