"""Samples, as every rule takes them (docs/samples.md)."""

SAMPLE_FILES = [".bmp", ".jpeg", ".jpg", ".npy", ".npz", ".pgm", ".png", ".ppm", ".webp"]

PREPROCESSING_DOC = "Where the samples are images: the JSON file that says how they become tensors."
