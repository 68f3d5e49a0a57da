"""Lowering of ONNX operators."""
