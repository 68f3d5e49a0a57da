"""Whole models for tests: small ones that are generated here, and the real ones of ../shared/models where that folder is."""
