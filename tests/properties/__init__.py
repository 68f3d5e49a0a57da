"""Property tests: NPU operators with random parameters against the reference runtimes and a plain NumPy rule."""
