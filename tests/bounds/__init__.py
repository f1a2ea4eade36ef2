"""Each extra in fresh environments: the lowest versions that pyproject.toml allows, and the newest."""
