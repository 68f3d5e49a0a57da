"""The reference runtimes: to look inside changes nothing of what they compute."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.runtime.compare.reference import OnnxReference, TfliteReference, open_reference
from furiosa.runtime.errors import ModelDeployFailed, ModelExecutionFailed
from furiosa.runtime.testing.enf_files import onnx_model, tflite_softmax

_SHAPE = (3, 1000)
_NODES = [
    ("Neg", ["x"], ["n"], {}),
    ("Div", ["n", "root"], ["d"], {}),
    ("Erf", ["d"], ["e"], {}),
    ("Add", ["e", "one"], ["a"], {}),
    ("Mul", ["n", "a"], ["m"], {}),
    ("Mul", ["m", "half"], ["g"], {}),
    ("Abs", ["g"], ["y"], {}),
]


def _gelu() -> bytes:
    """y = |gelu(-x)|; onnxruntime makes one operator of the nodes from "d" to "g", with other bits than theirs."""
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


def test_what_changes_a_fusion_is_not_looked_at() -> None:
    keys = dict.fromkeys(["n", "d", "e", "a", "m", "g", "y", "no tensor of the file"], "float32")
    untouched, none = OnnxReference(_gelu(), "gelu", None, {}).run([_x()], ["x"])
    outputs, kept = OnnxReference(_gelu(), "gelu", None, keys).run([_x()], ["x"])
    assert none == {} and outputs[0].tobytes() == untouched[0].tobytes()
    assert set(kept) == {"n", "g"}
    np.testing.assert_array_equal(kept["n"], -_x())
    np.testing.assert_array_equal(np.abs(kept["g"]), outputs[0])


def test_it_would_have_changed() -> None:
    """The ground of the test before: with "e" as an output the model computes other bits."""
    reference = OnnxReference(_gelu(), "gelu", None, dict.fromkeys(["e"], "float32"))
    plain, watched = (
        session.run(["y"], {"x": _x()})[0] for session in (reference._plain, reference._watched)
    )
    assert plain.tobytes() != watched.tobytes()


def test_litert_keeps_its_tensors() -> None:
    model = tflite_softmax((2, 3))
    reference = open_reference("tflite", model, "softmax", None, {0: "int8", 1: "int8"})
    x = np.arange(-3, 3, dtype=np.int8).reshape(2, 3)
    outputs, kept = reference.run([x], ["a"])
    np.testing.assert_array_equal(kept[0], x)
    np.testing.assert_array_equal(kept[1], outputs[0])
    assert reference.version.startswith("LiteRT")


def test_models_and_inputs_that_a_runtime_refuses() -> None:
    with pytest.raises(ModelDeployFailed, match="bad: onnxruntime refuses the model"):
        OnnxReference(b"junk", "bad", None, {})
    with pytest.raises(ModelDeployFailed, match="bad: LiteRT refuses the model"):
        TfliteReference(b"junk", "bad", {})
    with pytest.raises(ModelExecutionFailed, match="gelu: onnxruntime"):
        OnnxReference(_gelu(), "gelu", None, {}).run([_x()[:, :5]], ["x"])
    with pytest.raises(ModelExecutionFailed, match="softmax: LiteRT"):
        TfliteReference(tflite_softmax((2, 3)), "softmax", {}).run([np.zeros(3, np.int8)], ["a"])
