"""Conformance: the test suite of the onnx package through the whole way."""
