"""Files of measurements beside a bundle: bench.json, compare.json, changed.json, neighbours.json."""
