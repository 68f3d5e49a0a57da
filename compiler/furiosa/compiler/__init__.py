"""The compiler: a TFLite or ONNX model in, an ENF out.  The stages are the folders dfg, ldfg, cdfg, gir, lir, enf."""

__version__ = "0.1.0"
