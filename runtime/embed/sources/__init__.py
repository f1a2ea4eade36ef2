"""Where the images of a job are: folders, tar shards, Parquet."""
