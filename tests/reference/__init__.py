"""The arithmetic of the reference runtimes as plain NumPy: slow, obvious functions, each tested bit for bit against its runtime."""
