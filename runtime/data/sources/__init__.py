"""Where images are, for every command: folders, lists, tar shards, Parquet files."""
