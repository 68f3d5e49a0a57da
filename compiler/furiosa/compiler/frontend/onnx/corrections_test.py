"""Every shape that the importer finds is the one that onnxruntime makes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from furiosa.compiler.frontend.importer import import_model
from furiosa.compiler.frontend.onnx import shapes

REFUSED = (runtime.Fail, runtime.InvalidArgument, runtime.RuntimeException)


def _model(
    nodes: list[onnx.NodeProto], x: tuple[int, ...], weights: dict[str, np.ndarray], opset: int
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model.SerializeToString()


def _made(model: bytes, x: tuple[int, ...]) -> tuple[int, ...] | None:
    """What onnxruntime makes; None where it refuses the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": np.zeros(x, np.float32)})[0].shape
    except REFUSED:
        return None


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
def test_pools_with_ceil_mode(op_type: str) -> None:
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(60):
        rank = int(rng.integers(1, 3))
        x = (1, 2, *(int(v) for v in rng.integers(3, 12, rank)))
        kernel = [int(v) for v in rng.integers(1, 4, rank)]
        pads = [int(rng.integers(0, kernel[i % rank])) for i in range(2 * rank)]
        strides = [int(v) for v in rng.integers(1, 5, rank)]
        node = helper.make_node(
            op_type, ["x"], ["y"], kernel_shape=kernel, pads=pads, strides=strides, ceil_mode=1
        )
        model = _model([node], x, {}, 19)
        made = _made(model, x)
        if made is not None:
            checked += 1
            assert import_model(model).outputs[0].shape == made
    assert checked > 40


def test_transposed_convolutions() -> None:
    rng = np.random.default_rng(2)
    checked = 0
    for i in range(160):
        rank = int(rng.integers(1, 3))
        x = (1, 4, *(int(v) for v in rng.integers(1, 8, rank)))
        strides = [int(v) for v in rng.integers(1, 5, rank)]
        fields: dict[str, object] = {
            "auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")[i % 4],
            "strides": strides,
            "dilations": [int(v) for v in rng.integers(1, 3, rank)],
            "output_padding": [int(rng.integers(0, s)) for s in strides],
            "group": int(rng.choice((1, 2))),
        }
        if i % 3 == 0:
            fields["output_shape"] = [int(rng.integers(1, 20)) for _ in strides]
        weight = np.zeros((4, 3, *(int(v) for v in rng.integers(1, 5, rank))), np.float32)
        model = _model([helper.make_node("ConvTranspose", ["x", "w"], ["y"], **fields)], x, {"w": weight}, 13)
        made = _made(model, x)
        if made is not None:
            checked += 1
            assert import_model(model).outputs[0].shape == made
    assert checked > 100


def test_resizing_by_scales() -> None:
    """180 * 0.9 is 162 in float32, below that in double precision."""
    rng = np.random.default_rng(3)
    for i in range(120):
        x = (1, 1, 3, int(rng.integers(2, 300)))
        scale = float(rng.choice((0.9, 0.7, 0.6, 1.1, 1.3, 2.7, 0.45, 3.3)))
        scales = np.array([1, 1, 1, scale], np.float32)
        if x[3] * scale < 1.5:
            continue
        inputs = ["x", "", "s"] if i % 2 else ["x", "s"]
        model = _model([helper.make_node("Resize", inputs, ["y"])], x, {"s": scales}, 13 if i % 2 else 10)
        assert import_model(model).outputs[0].shape == _made(model, x)


def test_what_follows_a_corrected_shape_is_right_too() -> None:
    fields = {"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], **fields),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], **fields),
        helper.make_node("Concat", ["c", "c"], ["y"], axis=2),
    ]
    model = _model(nodes, (1, 2, 11), {}, 13)
    assert import_model(model).outputs[0].shape == _made(model, (1, 2, 11))


def test_corrections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs an inference of the whole model: a file of thousands must not take hours."""
    fields = {"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
    nodes = [helper.make_node("MaxPool", ["x"], [f"y{i}" if i else "y"], **fields) for i in range(9)]
    model = onnx.load_from_string(_model(nodes, (1, 2, 11), {}, 13))
    calls = []
    original = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference, "infer_shapes", lambda *a, **k: (calls.append(1), original(*a, **k))[1]
    )
    monkeypatch.setattr(shapes, "MOST_CORRECTIONS", 4)
    shapes.infer(model, {}, set())
    assert len(calls) == 5
