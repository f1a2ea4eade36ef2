"""Peers side by side, recorded results and how they were measured; never shipped. See README.md here."""
