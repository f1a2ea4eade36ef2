"""How long an export takes."""
