"""Bundles, compiled models in one archive: ``writer`` packs, ``reader`` opens, checks and unpacks."""
