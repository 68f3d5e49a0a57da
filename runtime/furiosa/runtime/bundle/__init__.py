"""Bundles: compiled models in one archive with a manifest.  ``writer`` packs, ``reader`` opens, checks and unpacks."""
