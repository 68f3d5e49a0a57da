"""The reference runtimes, with and without what they optimise."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.runtime.compare.reference import Refused, open_reference, version
from furiosa.runtime.testing.enf_files import onnx_model, tflite_softmax

_SHAPE = (3, 1000)
_NODES = [
    ("Div", ["x", "root"], ["d"], {}),
    ("Erf", ["d"], ["e"], {}),
    ("Add", ["e", "one"], ["a"], {}),
    ("Mul", ["x", "a"], ["m"], {}),
    ("Mul", ["m", "half"], ["y"], {}),
]


def _gelu() -> bytes:
    """y = gelu(x) in five nodes, of which onnxruntime's optimiser makes one operator, with other bits than theirs."""
    import onnx
    from onnx import numpy_helper

    model = onnx.ModelProto.FromString(
        onnx_model(_NODES, {"x": ("float32", _SHAPE)}, {"y": ("float32", _SHAPE)})
    )
    for name, value in (("root", np.sqrt(2)), ("one", 1), ("half", 0.5)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    return model.SerializeToString()


def _x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(_SHAPE).astype(np.float32)


def test_onnxruntime_with_and_without_its_optimiser() -> None:
    (fused,), (nodes,) = (open_reference("onnx", _gelu(), optimised=o).run([_x()]) for o in (True, False))
    assert fused.tobytes() != nodes.tobytes()
    np.testing.assert_allclose(fused, nodes, rtol=1e-5, atol=1e-6)
    (named,) = open_reference("onnx", _gelu()).run([_x(), _x()], ["x", "no input of the model"])
    assert named.tobytes() == fused.tobytes()
    assert version("onnx").startswith("onnxruntime ")


def test_litert_with_and_without_xnnpack() -> None:
    x = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)
    for optimised in (True, False):
        (y,) = open_reference("tflite", tflite_softmax((2, 3)), optimised=optimised).run([x])
        assert y.shape == (2, 3) and y.dtype == np.int8
    assert version("tflite").startswith("LiteRT")


def test_models_and_inputs_that_a_runtime_refuses() -> None:
    for source_format, name in (("onnx", "onnxruntime"), ("tflite", "LiteRT")):
        with pytest.raises(Refused, match=f"^{name} refuses it: "):
            open_reference(source_format, b"junk")
    with pytest.raises(Refused, match="^onnxruntime fails: "):
        open_reference("onnx", _gelu()).run([_x()[:, :5]])
    with pytest.raises(Refused, match="^LiteRT fails: "):
        open_reference("tflite", tflite_softmax((2, 3))).run([np.zeros(3, np.int8)])
