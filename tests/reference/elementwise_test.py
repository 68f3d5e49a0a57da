"""ADD, SUB, MUL and activations of LiteRT, and Add, Mul, Sub of onnxruntime, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference import elementwise, onnx_op, rounding, tflite_op
from tests.reference.random_case import RandomCase
from tests.reference.tflite_op import options

SIZE = 4099  # no multiple of a vector: the last elements take the kernels' tail code
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
DTYPES = ["int8", "uint8"]


def _pair(case: RandomCase, second: int = SIZE):
    """Two operands and the parameters (sa, za, sb, zb, sy, zy), in half of the cases with many ties."""
    sy = case.scale(0.2, 1.5)
    sa, sb = (case.near(sy) if case.rng.random() < 0.5 else case.scale() for _ in range(2))
    parameters = (sa, case.zero_point(), sb, case.zero_point(), sy, case.zero_point())
    return case.tensor(1, SIZE), case.tensor(1, second), parameters


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
def test_tflite(operator: str, seed: int, dtype: str) -> None:
    """Both operands of one shape, or one of a single element, as activation or constant, before or after the other."""
    case = RandomCase(seed, dtype)
    first_scalar = seed % 5 == 1
    a, b, (sa, za, sb, zb, sy, zy) = _pair(case, 1 if seed % 5 in (1, 2, 3) else SIZE)
    if first_scalar:
        a, b = b, a
    constant = seed % 5 in (1, 3)  # the broadcast one
    activation = str(case.rng.choice(list(ACTIVATIONS)))
    operands = [
        tflite_op.Operand(a.shape, dtype, sa, za, a if constant and first_scalar else None),
        tflite_op.Operand(b.shape, dtype, sb, zb, b if constant and not first_scalar else None),
    ]
    option = options(operator.capitalize() + "Options", fusedActivationFunction=ACTIVATIONS[activation])
    model = tflite_op.build(
        operator, operands, tflite_op.Operand((1, SIZE), dtype, sy, zy), option, version=2
    )
    fed = [array for array, operand in zip((a, b), operands) if operand.data is None]
    actual, delegated = tflite_op.run_all(model, *fed)
    assert delegated
    bounds = rounding.activation_bounds_xnnpack(activation, sy, zy, dtype)
    if operator == "MUL":
        expected = elementwise.multiply_xnnpack(a, b, sa, za, sb, zb, sy, zy, bounds)
    else:
        expected = elementwise.add_xnnpack(
            a, b, sa, za, sb, zb, sy, zy, bounds, 1 if operator == "ADD" else -1
        )
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
def test_tflite_activation_bounds(seed: int, dtype: str) -> None:
    """Bounds of RELU6 where 6/scale is next to a tie: XNNPACK's operators and the builtin ones round them differently."""
    case = RandomCase(seed, dtype)
    steps = int(case.rng.integers(3, 120))
    scale = float(np.nextafter(np.float32(6 / (steps + 0.5)), np.float32(case.rng.choice([0, 6]))))
    zero_point = int(case.rng.integers(case.info.min, case.info.max - steps))
    x = np.full((1, 2, 2, 3), case.info.max, dtype)
    operand = tflite_op.Operand(x.shape, dtype, scale, zero_point)
    one = tflite_op.Operand((1, 1, 1, 3), dtype, scale, zero_point)
    fields = {
        "padding": 1,
        "strideH": 2,
        "strideW": 2,
        "filterHeight": 2,
        "filterWidth": 2,
        "fusedActivationFunction": 3,
    }
    for operator, bounds in (
        ("MAX_POOL_2D", rounding.activation_bounds_xnnpack),
        ("AVERAGE_POOL_2D", rounding.activation_bounds_builtin),
    ):
        model = tflite_op.build(operator, [operand], one, options("Pool2DOptions", **fields), version=2)
        assert (tflite_op.run(model, x) == bounds("RELU6", scale, zero_point, dtype)[1]).all(), operator


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
def test_tflite_leaky_relu(seed: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x, _, (sx, zx, _, _, sy, zy) = _pair(case)
    alpha = float(np.float32(case.rng.uniform(0.05, 0.9)))
    operands = [tflite_op.Operand(x.shape, dtype, sx, zx)], tflite_op.Operand(x.shape, dtype, sy, zy)
    actual, delegated = tflite_op.run_all(
        tflite_op.build("LEAKY_RELU", *operands, options("LeakyReluOptions", alpha=alpha), version=2), x
    )
    assert delegated
    np.testing.assert_array_equal(actual, elementwise.leaky_relu_xnnpack(x, alpha, sx, zx, sy, zy))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("operator", ["RELU", "RELU6"])
def test_tflite_relu(operator: str, seed: int, dtype: str) -> None:
    case = RandomCase(seed, dtype)
    x, _, (sx, zx, _, _, sy, zy) = _pair(case)
    if seed % 2:
        sy = sx
    operands = [tflite_op.Operand(x.shape, dtype, sx, zx)], tflite_op.Operand(x.shape, dtype, sy, zy)
    actual = tflite_op.run(tflite_op.build(operator, *operands, version=2), x)
    bounds = rounding.activation_bounds_builtin(operator, sy, zy, dtype)
    np.testing.assert_array_equal(actual, elementwise.relu_builtin(x, bounds, sx, zx, sy, zy))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("operator", ["Add", "Mul"])
def test_onnxruntime(operator: str, seed: int, dtype: str) -> None:
    """QLinearAdd and QLinearMul: one shape, or a single element second or first."""
    case = RandomCase(seed, dtype)
    a, b, (sa, za, sb, zb, sy, zy) = _pair(case, 1 if seed % 3 else SIZE)
    rule = elementwise.add_onnxruntime if operator == "Add" else elementwise.multiply_onnxruntime
    operands = [onnx_op.Operand(a.shape, dtype, sa, za), onnx_op.Operand(b.shape, dtype, sb, zb)]
    arrays = [a, b]
    if (
        seed % 3 == 2
    ):  # onnxruntime swaps operands so that the one that broadcasts is the second: so does the rule
        operands.reverse()
        arrays.reverse()
    output = onnx_op.Operand((1, SIZE), dtype, sy, zy)
    actual, operators = onnx_op.run_all(onnx_op.build_qdq(operator, operands, output), *arrays)
    assert operators == ["QLinear" + operator]
    np.testing.assert_array_equal(actual, rule(a, b, sa, za, sb, zb, sy, zy))
    qoperator = onnx_op.build_qoperator("QLinear" + operator, operands, output, domain="com.microsoft")
    np.testing.assert_array_equal(onnx_op.run(qoperator, *arrays), actual)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_onnxruntime_broadcast_of_channels(seed: int, dtype: str) -> None:
    """[1,C,1,1] with [1,C,H,W] in both orders: every span of the image meets a single element."""
    case = RandomCase(seed, dtype)
    sy = case.scale(0.2, 1.5)
    sa, za, sb, zb, zy = case.near(sy), case.zero_point(), case.near(sy), case.zero_point(), case.zero_point()
    a, b = case.tensor(1, 7, 9, 11), case.tensor(1, 7, 1, 1)
    operands = [onnx_op.Operand(a.shape, dtype, sa, za), onnx_op.Operand(b.shape, dtype, sb, zb)]
    output = onnx_op.Operand(a.shape, dtype, sy, zy)
    expected = elementwise.add_onnxruntime(a, b, sa, za, sb, zb, sy, zy)
    np.testing.assert_array_equal(onnx_op.run(onnx_op.build_qdq("Add", operands, output), a, b), expected)
    np.testing.assert_array_equal(
        onnx_op.run(onnx_op.build_qdq("Add", operands[::-1], output), b, a), expected
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(20))
def test_onnxruntime_float(seed: int, dtype: str) -> None:
    """Sub, and Add followed by Relu, are not fused: three float32 operators."""
    case = RandomCase(seed, dtype)
    a, b, (sa, za, sb, zb, sy, zy) = _pair(case)
    operands = [onnx_op.Operand(a.shape, dtype, sa, za), onnx_op.Operand(b.shape, dtype, sb, zb)]
    output = onnx_op.Operand(a.shape, dtype, sy, zy)
    actual = onnx_op.run(onnx_op.build_qdq("Sub", operands, output), a, b)
    expected = elementwise.float_onnxruntime(np.subtract, a, b, sa, za, sb, zb, sy, zy)
    np.testing.assert_array_equal(actual, expected)
    if zy != case.info.min:  # else the Relu is dropped and the Add is fused
        chain = [("Add", {}), ("Relu", {})]
        actual, operators = onnx_op.run_all(onnx_op.build_qdq(chain, operands, output), a, b)
        assert "Add" in operators
        relu = elementwise.float_onnxruntime(lambda x, y: np.maximum(x + y, 0), a, b, sa, za, sb, zb, sy, zy)
        np.testing.assert_array_equal(actual, relu)
