"""What several benchmarks use: the environment, processes, rounds, drawn bundles."""
