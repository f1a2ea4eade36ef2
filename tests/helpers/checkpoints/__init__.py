"""Checkpoints as people have them: the structure of real libraries' files around networks of ours."""
