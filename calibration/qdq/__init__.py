"""Where Q/DQ pairs go, and how they are written."""
