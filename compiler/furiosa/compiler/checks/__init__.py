"""What Bazel's test rules and its lint aspect run on a compiled model."""
