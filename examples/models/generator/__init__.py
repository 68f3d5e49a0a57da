"""Example models with exact architectures and deterministic weights, generated as ONNX files."""
