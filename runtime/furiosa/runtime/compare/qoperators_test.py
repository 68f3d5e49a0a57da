"""What onnxruntime's operators on quantised tensors are in real numbers, beside what it computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa.runtime.compare import qoperators
from furiosa.runtime.compare.exact import Exact, Real

SHAPE = (1, 3, 6, 6)
# of the result small enough that not all is clipped
CONSTANTS = {
    "s": np.float32(0.037), "t": np.float32(0.021), "u": np.float32(0.049), "w": np.float32(0.0041),
    "z": np.int8(3), "p": np.int8(-7), "low": np.int8(-128), "c": np.arange(36).reshape(6, 6) % 3 == 0,
}  # fmt: skip
CASES = {
    "QLinearAdd": (["x", "s", "z", "y", "t", "p", "u", "z"], {}),
    "QLinearAveragePool": (["x", "s", "z", "t", "p"], {"kernel_shape": [2, 3], "strides": [2, 1]}),
    "QLinearConcat": (["u", "p", "x", "s", "z", "y", "t", "p"], {"axis": 1}),
    "QLinearGlobalAveragePool": (["x", "s", "z", "w", "p"], {}),
    "QLinearLeakyRelu": (["x", "s", "z", "t", "p"], {"alpha": 0.1}),
    "QLinearMul": (["x", "s", "z", "y", "t", "p", "u", "z"], {}),
    "QLinearSigmoid": (["x", "s", "z", "w", "low"], {}),
    "QLinearWhere": (["c", "x", "s", "z", "y", "t", "p", "u", "z"], {}),
}


def _model(kind: str, **more: int) -> bytes:
    inputs, attributes = CASES[kind]
    node = helper.make_node(kind, inputs, ["out"], domain="com.microsoft", **{**attributes, **more})
    named = [n for n in ("x", "y") if n in inputs]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.INT8, SHAPE) for n in named],
        [helper.make_tensor_value_info("out", TensorProto.INT8, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in CONSTANTS.items() if n in inputs],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.parametrize("kind", CASES)
def test_the_real_numbers_of(kind: str) -> None:
    """onnxruntime's result is the nearest integer to them; every other one is not."""
    model = _model(kind)
    rng = np.random.default_rng(1)
    reads = [n for n in ("x", "y") if n in CASES[kind][0]]
    values = [rng.integers(-128, 128, SHAPE).astype(np.int8) for _ in reads]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, dict(zip(reads, values, strict=True)))
    exact = Exact(model)
    real = Real(*exact.run(values), exact.scale)
    assert real.values.shape == theirs.shape and len(np.unique(theirs)) > 2
    assert real.nearest(theirs, theirs).all()
    clipped = np.clip(theirs.astype(np.int32) + 1, -128, 127).astype(np.int8)
    assert not real.nearest(clipped, theirs)[clipped != theirs].any()


def test_every_operator_is_tested() -> None:
    assert set(CASES) == {*qoperators.LIKE, "QLinearConcat"}


def test_what_has_no_such_form_stays() -> None:
    nodes = onnx.ModelProto.FromString(_model("QLinearAveragePool", channels_last=1)).graph.node
    assert qoperators.expanded(nodes) == list(nodes)
