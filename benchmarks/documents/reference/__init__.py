"""The pages of docs/reference/ that are written from the code, by `benchmarks/documents/write_reference.py`."""
