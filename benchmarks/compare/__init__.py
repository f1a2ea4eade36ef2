"""How fast `run-ssl compare` reads and judges."""
