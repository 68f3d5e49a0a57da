"""Real numbers: what counts as rounded right, and operators in float64 beside onnxruntime's in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from furiosa.runtime.compare.exact import SLACK, Exact, Real, Scale
from furiosa.runtime.compare.reference import open_reference

_SCALE = Scale(-128, 127, np.zeros(()))


def _right(value: float, ours: int, theirs: int = 0, scale: Scale = _SCALE) -> bool:
    return bool(Real(np.array([value]), scale).nearest(np.array([ours]), np.array([theirs]))[0])


def test_only_what_the_real_number_rounds_to_is_right() -> None:
    assert _right(3.4, 3) and not _right(3.4, 4) and not _right(3.4, 2)
    assert _right(3.5 + SLACK / 2, 3) and _right(3.5 + SLACK / 2, 4)
    assert not _right(3.5 + 2 * SLACK, 3)
    assert _right(300.0, 127) and not _right(300.0, 126) and _right(-1e9, -128)


def test_a_tie_rounds_to_even_unless_the_reference_does_not_see_it() -> None:
    assert _right(2.5, 2, theirs=2) and not _right(2.5, 3, theirs=2)
    assert _right(2.5, 3, theirs=3) and _right(2.5, 2, theirs=3)
    assert _right(2.5, 2 + 3, 5, Scale(-128, 127, np.array(3))) and not _right(
        2.5, 3 + 3, 5, Scale(-128, 127, np.array(3))
    )
    one = Real(np.array([2.5, 4.5]), _SCALE)  # the second tie shows that the reference rounds as it happens
    assert one.nearest(np.array([3, 4]), np.array([2, 5])).all()


def test_a_float_is_right_no_further_away_than_the_reference_somewhere() -> None:
    real = Real(np.array([1.0, 2.0]), None)
    theirs = np.array([1.0, 2.0 + 5e-7], np.float32)
    assert real.nearest(np.array([1.0 - 4e-7, 2.0], np.float32), theirs).all()
    assert not real.nearest(np.array([1.0 - 6e-7, 2.0], np.float32), theirs)[0]
    assert not real.nearest(np.array([np.nan, 2.0], np.float32), theirs)[0]
    same = np.array([1.0, 2.0], np.float32)  # two roundings of 2.0 are 2.4e-7
    assert real.nearest(np.array([1.0 - 2e-7, 2.0], np.float32), same).all()
    assert not real.nearest(np.array([1.0 - 3e-7, 2.0], np.float32), same)[0]


def test_real_numbers_fit_what_the_reference_makes_without_its_optimiser() -> None:
    real = Real(np.array([2.5, 2.5, 2.5, 2.5, 300.0, np.nan]), _SCALE)
    assert real.fits(np.array([2, 3, 4, 1, 127, 0])).tolist() == [True, True, False, False, True, False]
    assert Real(np.array([2.5]), Scale(-128, 127, np.array(3))).fits(np.array([5])).all()
    floats = Real(np.array([1.0, 1000.0]), None)  # 2^13 roundings of 1000.0 are 0.98
    assert floats.fits(np.array([1.9, 1000.0], np.float32)).all()
    assert not floats.fits(np.array([2.0, 1000.0], np.float32)).any()


def test_rounded() -> None:
    real = Real(np.array([0.5, 1.5, 130.2, -4.0]), Scale(-128, 127, np.array(1)))
    assert real.rounded(np.dtype(np.int8)).tolist() == [1, 3, 127, -3]
    assert Real(np.array([0.1]), None).rounded(np.dtype(np.float32)) == np.float32(0.1)


# -- operators -------------------------------------------------------------------------------------------------------------


def _model(
    nodes: Sequence[tuple[str, Sequence[str], str, dict]],
    inputs: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
) -> bytes:
    made = [helper.make_node(op, list(reads), [out], **attributes) for op, reads, out, attributes in nodes]
    is_integer = nodes[-1][0] == "QuantizeLinear"
    kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in inputs.items()}
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in inputs.items()],
        [helper.make_tensor_value_info(nodes[-1][2], onnx.TensorProto.INT8 if is_integer else 1, None)],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


_RNG = np.random.default_rng(4)
_X = _RNG.standard_normal((2, 6, 9, 8)).astype(np.float32)


def _weights(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Conv", [_weights(4, 6, 3, 2), _weights(4)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ("Conv", [_weights(6, 2, 3, 3)], {"group": 3, "dilations": [2, 1]}),
        ("Conv", [_weights(6, 1, 1, 1)], {"group": 6}),
        ("ConvTranspose", [_weights(6, 4, 3, 2), _weights(4)], {"pads": [1, 0, 0, 1], "strides": [2, 3]}),
        (
            "ConvTranspose",
            [_weights(6, 2, 3, 3)],
            {"group": 2, "dilations": [1, 2], "output_padding": [1, 0], "strides": [2, 1]},
        ),
        ("AveragePool", [], {"kernel_shape": [3, 2], "pads": [1, 1, 0, 0], "strides": [2, 1]}),
        ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0], "count_include_pad": 1}),
        ("Cast", [], {"to": onnx.TensorProto.FLOAT}),
        ("Gemm", None, {}),
        ("LeakyRelu", [], {"alpha": 0.1}),
        ("HardSwish", [], {}),
        ("Erf", [], {}),
        ("Softmax", [], {"axis": 1}),
        ("LayerNormalization", [_weights(8), _weights(8)], {}),
        ("ReduceL2", [], {"axes": [1]}),
        ("GlobalAveragePool", [], {}),
    ],
)
def test_an_operator_in_float64(op: str, constants: list[np.ndarray] | None, attributes: dict) -> None:
    x = _X
    if constants is None:
        x, constants = _X.reshape(12, 72), [_weights(72, 5), _weights(5)]
    names = {f"c{i}": c for i, c in enumerate(constants)}
    model = _model([(op, ["x", *names], "y", attributes)], {"x": x}, names)
    (theirs,) = open_reference("onnx", model, optimised=False).run([x])
    (real,) = Exact(model).run([x])
    assert real.dtype == np.float64 and real.shape == theirs.shape
    np.testing.assert_allclose(theirs, real, rtol=2e-5, atol=2e-6)
    assert np.abs(theirs - real).max() > 0 or op in ("Cast",)  # float64 and not the same float32


def test_a_quantised_layer_is_left_unrounded() -> None:
    q = _RNG.integers(-128, 128, (1, 6, 5, 5)).astype(np.int8)
    w = _RNG.integers(-127, 128, (4, 6, 1, 1)).astype(np.int8)
    scales = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    constants = {
        "s": np.float32(0.05),
        "z": np.int8(7),
        "w": w,
        "ws": scales,
        "wz": np.zeros(4, np.int8),
        "t": np.float32(0.3),
        "o": np.int8(-9),
    }
    nodes = [
        ("DequantizeLinear", ["q", "s", "z"], "x", {}),
        ("DequantizeLinear", ["w", "ws", "wz"], "wr", {"axis": 0}),
        ("Conv", ["x", "wr"], "c", {}),
        ("QuantizeLinear", ["c", "t", "o"], "y", {}),
    ]
    model = _model(nodes, {"q": q}, {n: np.asarray(c) for n, c in constants.items()})
    exact = Exact(model)
    (values,) = exact.run([q])
    sums = np.einsum("nchw,oc->nohw", q.astype(np.int64) - 7, w[:, :, 0, 0].astype(np.int64))
    factor = np.float64(constants["s"]) * scales.astype(np.float64) / np.float64(constants["t"])
    np.testing.assert_allclose(values, sums * factor[:, None, None], rtol=1e-14)
    real = Real(values, exact.scale)
    assert (exact.scale.low, exact.scale.high, int(exact.scale.zero_point)) == (-128, 127, -9)
    (theirs,) = open_reference("onnx", model).run([q])
    np.testing.assert_array_equal(real.rounded(np.dtype(np.int8)), theirs)
    assert real.nearest(theirs, theirs).all() and not real.nearest(theirs + 1, theirs).any()


def test_a_quantisation_inside() -> None:
    """Fine while it rounds nothing that a float32 runtime might round otherwise."""
    constants = {"s": np.float32(0.5), "z": np.int8(3), "t": np.float32(0.25)}
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], "q", {}),
        ("DequantizeLinear", ["q", "s", "z"], "r", {}),
        ("QuantizeLinear", ["r", "t", "z"], "y", {}),
    ]
    x = np.array([[1.0, 1.1, -70.0, 3.0]], np.float32)
    exact = Exact(_model(nodes, {"x": x}, {n: np.asarray(c) for n, c in constants.items()}))
    assert exact.run([x])[0].tolist() == [[4.0, 4.0, -262.0, 12.0]]
    with pytest.raises(NotImplementedError, match="round up or down"):
        exact.run([x + np.float32(0.25)])


def test_what_cannot_be_computed() -> None:
    model = _model(
        [("Conv", ["x", "w"], "y", {"auto_pad": "SAME_UPPER"})], {"x": _X}, {"w": _weights(4, 6, 3, 3)}
    )
    with pytest.raises(NotImplementedError):
        Exact(model).run([_X])
