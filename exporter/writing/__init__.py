"""What an export writes: the bundle, its manifest, its layer counts, a C++ project."""
