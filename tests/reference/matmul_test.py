"""Matrix products of two activations in LiteRT's builtin kernels, bit for bit; the others are in tests/properties."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference.matmul import matmul_builtin
from tests.reference.random_case import RandomCase
from tests.reference.tflite_op import Operand, build, options, run_all


@pytest.mark.parametrize("operator", ["BATCH_MATMUL", "FULLY_CONNECTED"])
@pytest.mark.parametrize("seed", range(60))
def test_builtin(seed: int, operator: str) -> None:
    """Half of the output scales make a tie of every odd multiple."""
    case = RandomCase(seed, "int8")
    rows, depth, columns = (int(v) for v in case.rng.integers(1, 24, 3))
    s_a, s_b = case.scale(), case.scale()
    s_y = float(np.float32(s_a * s_b * (128 if seed % 2 else 90 * depth**0.5)))
    z_a, z_y = case.zero_point(), case.zero_point()
    dense = operator == "FULLY_CONNECTED"
    z_b = 0 if dense else case.zero_point() or 1
    a, b = case.tensor(rows, depth), case.tensor(depth, columns)
    second = np.ascontiguousarray(b.T) if dense else b
    operands = [Operand(a.shape, "int8", s_a, z_a), Operand(second.shape, "int8", s_b, z_b)]
    output = Operand((rows, columns), "int8", s_y, z_y)
    if dense:
        model = build(operator, [*operands, None], output, options("FullyConnectedOptions"))
    else:
        model = build(operator, operands, output, options("BatchMatMulOptions"), version=2)
    y, delegated = run_all(model, a, second)
    assert not delegated
    expected = matmul_builtin(a, b, s_a, z_a, s_b, z_b, s_y, z_y, fully_connected=dense)
    np.testing.assert_array_equal(y, expected)
