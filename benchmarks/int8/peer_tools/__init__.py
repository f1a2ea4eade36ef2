"""One file per tool that quantises a network beside ours; each is run in that tool's environment."""
