"""What the programs of build actions leave out of wheels."""

# Most of the files of wheels, which nothing here imports. (unused_test.py)
UNUSED = [
    "ai_edge_litert/aot",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools",
    "ai_edge_litert/vendors",
    "numpy/_core/_multiarray_tests*",
    "numpy/_core/_operand_flag_tests*",
    "numpy/_core/_rational_tests*",
    "numpy/_core/_simd*",
    "numpy/_core/_struct_ufunc_tests*",
    "numpy/_core/_umath_tests*",
    "numpy/_pyinstaller",
    "numpy/distutils",
    "numpy/f2py",
    "onnx/backend",
    "onnx/bin",
    "onnx/fuzz",
    "onnx/test",
    "onnx/tools",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "tqdm",
]

# What compiling does not import either.
UNUSED_BY_COMPILER = UNUSED + [
    "ai_edge_litert/descriptor_pb2.py",
    "numpy/fft",
    "numpy/ma",
    "numpy/polynomial",
    "numpy/random",
    "numpy/testing",
    "onnx/reference",
]

# LiteRT's libraries; what reads TFLite files needs its modules.
UNUSED_LITERT = [
    "ai_edge_litert/_pywrap_*",
    "ai_edge_litert/lib*",
]
