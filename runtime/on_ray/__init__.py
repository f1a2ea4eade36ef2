"""Work on a Ray cluster: connecting, and what goes to its nodes. What is done there is the callers'."""
