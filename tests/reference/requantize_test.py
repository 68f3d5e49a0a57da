"""Conversions between scales and types, and CONCATENATION, of LiteRT and onnxruntime, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import onnx_op, requantize, table, tflite_op
from tests.reference.random_case import RandomCase
from tests.reference.tflite_op import options

SIZE = 2053
DTYPES = ["int8", "uint8"]


def _reals(case: RandomCase, scale: float) -> np.ndarray:
    """Real numbers of which many lie on a tie of `scale`, and some far outside of the range."""
    ties = np.arange(-900, 900) / 4 * np.float64(scale)
    return np.concatenate([ties, case.rng.normal(0, 90 * scale, SIZE), [1e9, -1e9]]).astype(np.float32)[None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
def test_quantize_and_dequantize(seed: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    scale, zero_point = case.scale(), case.zero_point()
    x, q = _reals(case, scale), case.tensor(1, SIZE)

    model = tflite_op.build(
        "QUANTIZE",
        [tflite_op.Operand(x.shape, "float32")],
        tflite_op.Operand(x.shape, dtype, scale, zero_point),
        options("QuantizeOptions"),
        version=1,
    )
    actual, delegated = tflite_op.run_all(model, x)
    assert delegated
    np.testing.assert_array_equal(actual, requantize.quantize_xnnpack(x, scale, zero_point, dtype))
    model = onnx_op.build_qdq(
        [], [onnx_op.Operand(x.shape, "float32")], onnx_op.Operand(x.shape, dtype, scale, zero_point)
    )
    np.testing.assert_array_equal(
        onnx_op.run(model, x), requantize.quantize_onnxruntime(x, scale, zero_point, dtype)
    )

    expected = requantize.dequantize(q, scale, zero_point)
    model = tflite_op.build(
        "DEQUANTIZE",
        [tflite_op.Operand(q.shape, dtype, scale, zero_point)],
        tflite_op.Operand(q.shape, "float32"),
        options("DequantizeOptions"),
        version=2,
    )
    np.testing.assert_array_equal(tflite_op.run(model, q), expected)
    model = onnx_op.build_qdq(
        [], [onnx_op.Operand(q.shape, dtype, scale, zero_point)], onnx_op.Operand(q.shape, "float32")
    )
    np.testing.assert_array_equal(onnx_op.run(model, q), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(30))
def test_requantize(seed: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x, sx, zx, zy = table.values(dtype)[None], case.scale(), case.zero_point(), case.zero_point()
    sy = case.near(sx) if seed % 2 else case.scale()
    model = tflite_op.build(
        "QUANTIZE",
        [tflite_op.Operand(x.shape, dtype, sx, zx)],
        tflite_op.Operand(x.shape, dtype, sy, zy),
        options("QuantizeOptions"),
        version=2,
    )
    actual, delegated = tflite_op.run_all(model, x)
    assert delegated
    np.testing.assert_array_equal(actual, requantize.requantize_xnnpack(x, sx, zx, sy, zy))
    model = onnx_op.build_qdq(
        [], [onnx_op.Operand(x.shape, dtype, sx, zx)], onnx_op.Operand(x.shape, dtype, sy, zy)
    )
    expected = table.lookup(x, table.table_onnxruntime(table.identity, sx, zx, sy, zy, dtype))
    np.testing.assert_array_equal(onnx_op.run(model, x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_tflite_change_of_type(seed: int, dtype: str) -> None:
    """int8 to uint8 and back with one scale only moves the zero point."""
    case, other = RandomCase(seed, dtype), DTYPES[dtype == "int8"]
    x, scale, zx, zy = (
        table.values(dtype)[None],
        case.scale(),
        case.zero_point(),
        RandomCase(seed, other).zero_point(),
    )
    model = tflite_op.build(
        "QUANTIZE",
        [tflite_op.Operand(x.shape, dtype, scale, zx)],
        tflite_op.Operand(x.shape, other, scale, zy),
        options("QuantizeOptions"),
        version=2,
    )
    np.testing.assert_array_equal(tflite_op.run(model, x), requantize.shift_type(x, zx, zy, other))


@pytest.mark.parametrize("seed", range(20))
def test_tflite_concatenation_of_scales(seed: int) -> None:
    case = RandomCase(seed, "uint8")
    sy, zy = case.scale(), case.zero_point()
    parts = [
        (case.tensor(1, SIZE), case.near(sy) if seed % 2 else case.scale(), case.zero_point())
        for _ in range(2)
    ]
    parts.append((case.tensor(1, SIZE), sy, zy))
    model = tflite_op.build(
        "CONCATENATION",
        [tflite_op.Operand(x.shape, "uint8", s, z) for x, s, z in parts],
        tflite_op.Operand((1, 3 * SIZE), "uint8", sy, zy),
        options("ConcatenationOptions", axis=1),
        version=1,
    )
    expected = np.concatenate([requantize.concat_part_builtin(x, s, z, sy, zy) for x, s, z in parts], axis=1)
    np.testing.assert_array_equal(tflite_op.run(model, *(x for x, _, _ in parts)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_onnxruntime_concat_of_scales(seed: int, dtype: str) -> None:
    """QLinearConcat requantises each operand by the rule of DequantizeLinear and QuantizeLinear."""
    case = RandomCase(seed, dtype)
    sy, zy = case.scale(), case.zero_point()
    parts = [(case.tensor(1, SIZE), case.near(sy), case.zero_point()) for _ in range(2)]
    operands = [onnx_op.Operand(x.shape, dtype, s, z) for x, s, z in parts]
    output = onnx_op.Operand((1, 2 * SIZE), dtype, sy, zy)
    actual, operators = onnx_op.run_all(
        onnx_op.build_qdq("Concat", operands, output, axis=1), *(p[0] for p in parts)
    )
    assert operators == ["QLinearConcat"]
    expected = [
        table.lookup(x, table.table_onnxruntime(table.identity, s, z, sy, zy, dtype)) for x, s, z in parts
    ]
    np.testing.assert_array_equal(actual, np.concatenate(expected, axis=1))
