"""The bundle: the name, schema and meaning of every file in its directory, and how it is opened."""
