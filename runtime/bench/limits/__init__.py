"""How fast it could be, where the time goes by layer, and why INT8 is slow where it is."""
