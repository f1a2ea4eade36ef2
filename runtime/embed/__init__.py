"""Embedding jobs: any number of images in, Parquet or .npy parts out, on one machine or on Ray."""
