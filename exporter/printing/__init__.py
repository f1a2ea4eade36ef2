"""What an export prints."""
