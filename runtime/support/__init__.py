"""What knows nothing of networks: files, processes, numbers and words."""
