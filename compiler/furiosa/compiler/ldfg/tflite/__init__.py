"""Lowering of TFLite operators."""
