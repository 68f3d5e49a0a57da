"""Builds small ONNX models for tests from the textual syntax of onnx.parser, and runs them with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx


def model(text: str, *initializers: onnx.TensorProto, opset: int = 17, ir: int = 8, **domains: int) -> bytes:
    """A model from a graph in onnx.parser's syntax (``g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }``)."""
    imports = ", ".join(f'"{d.replace("_", ".")}": {v}' for d, v in {"": opset, **domains}.items())
    proto = onnx.parser.parse_model(f"<ir_version: {ir}, opset_import: [{imports}]> {text}")
    proto.graph.initializer.extend(initializers)
    return proto.SerializeToString()


def tensor(name: str, value: Any, dtype: str | None = None) -> onnx.TensorProto:
    """An initialiser with raw data."""
    return onnx.numpy_helper.from_array(np.asarray(value, dtype), name)


def run(data: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Runs a model once with onnxruntime's default session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def random_inputs(tensors: list[Any], seed: int) -> dict[str, np.ndarray]:
    """Seeded inputs (floats: normal, integers: 0 to 100) by name, for tensors with name, shape and dtype."""
    rng = np.random.default_rng(seed)
    return {
        t.name: rng.standard_normal(t.shape).astype(t.dtype)
        if t.dtype.startswith("float")
        else rng.integers(0, 2 if t.dtype == "bool" else 100, t.shape).astype(t.dtype)
        for t in tensors
    }
