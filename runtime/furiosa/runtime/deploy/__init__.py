"""Bundles where they run: an archive that is a container image's layer, and a runtime beside the models."""
