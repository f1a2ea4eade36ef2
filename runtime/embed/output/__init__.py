"""What a job writes: its directory, its identity, its parts and their rows."""
