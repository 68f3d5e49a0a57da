"""TFLite: functions of one value, operators of two tensors with broadcasting, conversions between types."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import (
    Quantization,
    any_shapes,
    broadcasts,
    machines,
    quantizations,
    seeds,
    shapes,
    together,
    values,
)
from tests.reference import elementwise, fixed_point, requantize, rounding, table
from tests.reference.rounding import f32
from tests.reference.tflite_op import Operand, build, options

Pair = tuple[tuple[int, ...], tuple[int, ...]]
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
@bounded(25)
@given(
    machine=machines(),
    q=together(3, low=2.0**-14),
    pair=broadcasts(),
    constant=st.integers(0, 2),
    activation=st.sampled_from(list(ACTIVATIONS)),
    seed=seeds(),
)
def test_arithmetic(
    operator: str, machine: Machine, q: tuple, pair: Pair, constant: int, activation: str, seed: int
) -> None:
    """XNNPACK's kernels, ADD and SUB also the builtin ones; none, the first or the second operand a constant, with a fused activation."""
    qa, qb, qy = q
    assume(math.prod(pair[0]) > 1 and math.prod(pair[1]) > 1)  # LiteRT drops the rank of a single element
    assume(operator != "MUL" or 2**-16 <= f32(qa.scale) * f32(qb.scale) / f32(qy.scale) < 2**8)
    a, b = arrays = [values(qa.dtype, pair[0], seed), values(qb.dtype, pair[1], seed + 1)]
    operands = [
        Operand(x.shape, *own, data=x if constant == i else None)
        for i, (x, own) in enumerate(zip(arrays, (qa, qb)), 1)
    ]
    option = options(operator.capitalize() + "Options", fusedActivationFunction=ACTIVATIONS[activation])
    y = Operand(np.broadcast_shapes(*pair), *qy)
    in_xnnpack = all(2**-10 <= f32(q.scale) / f32(qy.scale) < 2**8 for q in (qa, qb))
    assume(in_xnnpack or operator == "MUL" or qa.scale + qb.scale < 127 * qy.scale)  # else 16 bits overflow
    which = rounding.activation_bounds_xnnpack
    if operator != "MUL" and not in_xnnpack:
        which = rounding.activation_bounds_builtin
    bounds = which(activation, qy.scale, qy.zero_point, qy.dtype)

    def rule(*_: np.ndarray) -> np.ndarray:
        if operator == "MUL":
            return elementwise.multiply_xnnpack(a, b, *qa[1:], *qb[1:], *qy[1:], bounds)
        sign = 1 if operator == "ADD" else -1
        add = elementwise.add_xnnpack if in_xnnpack else fixed_point.add
        return add(a, b, *qa[1:], *qb[1:], *qy[1:], bounds, sign)

    given = [x for x, o in zip(arrays, operands) if o.data is None]
    check(build(operator, operands, y, option, version=2), given, rule, machine=machine)


@pytest.mark.parametrize("operator", ["MAXIMUM", "MINIMUM"])
@bounded(20)
@given(machine=machines(), q=together(3), pair=broadcasts(), seed=seeds())
def test_comparison(operator: str, machine: Machine, q: tuple, pair: Pair, seed: int) -> None:
    """The integers are compared, whatever the scales."""
    qa, qb, qy = q
    model = build(
        operator,
        [Operand(pair[0], *qa), Operand(pair[1], *qb)],
        Operand(np.broadcast_shapes(*pair), *qy),
        version=2,
    )
    rule = np.maximum if operator == "MAXIMUM" else np.minimum
    check(
        model,
        [values(qa.dtype, pair[0], seed), values(qb.dtype, pair[1], seed + 1)],
        rule,
        machine=machine,
    )


def _unary(
    operator: str,
    rule: object,
    machine: Machine,
    qx: Quantization,
    qy: Quantization,
    shape: tuple[int, ...],
    seed: int,
    option: object = None,
    version: int = 1,
) -> None:
    model = build(operator, [Operand(shape, *qx)], Operand(shape, *qy), option, version=version)
    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


TABLES = {
    "ELU": (lambda x: x if x >= 0 else math.expm1(x), table.table_xnnpack, ("int8",)),
    "LOGISTIC": (table.sigmoid, table.table_xnnpack, ("int8", "uint8")),
    "TANH": (math.tanh, table.table_xnnpack, ("int8", "uint8")),
    "EXP": (lambda x: np.exp(np.float64(x)), table.table_builtin, ("int8",)),
    "LOG": (lambda x: np.log(np.float64(x)), table.table_builtin, ("int8",)),
}


@pytest.mark.parametrize("operator", TABLES)
@bounded(12)
@given(data=st.data(), machine=machines(), shape=any_shapes(1, 5), seed=seeds())
def test_tables(
    operator: str, data: st.DataObject, machine: Machine, shape: tuple[int, ...], seed: int
) -> None:
    function, rule, dtypes = TABLES[operator]
    qx, qy = data.draw(together(2, dtypes))
    entries = rule(function, *qx[1:], *qy[1:], qx.dtype)
    version = 2 if operator == "LOG" else 1
    _unary(operator, lambda x: table.lookup(x, entries), machine, qx, qy, shape, seed, version=version)


@bounded(12)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), approximate=st.booleans(), seed=seeds())
def test_gelu(machine: Machine, q: tuple, shape: tuple[int, ...], approximate: bool, seed: int) -> None:
    qx, qy = q
    function = table.gelu_tanh_float32 if approximate else table.gelu_float32
    entries = table.table_builtin(function, *qx[1:], *qy[1:], qx.dtype)
    option = options("GeluOptions", approximate=approximate)
    _unary("GELU", lambda x: table.lookup(x, entries), machine, qx, qy, shape, seed, option)


@pytest.mark.parametrize("operator", ["RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"])
@bounded(12)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), seed=seeds())
def test_relu(operator: str, machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qx, qy = q
    bounds = rounding.activation_bounds_builtin(operator, qy.scale, qy.zero_point, qy.dtype)
    _unary(
        operator,
        lambda x: elementwise.relu_builtin(x, bounds, *qx[1:], *qy[1:]),
        machine,
        qx,
        qy,
        shape,
        seed,
    )


@bounded(25)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), seed=seeds())
def test_hard_swish(machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qx, qy = q
    assume(qx.scale / qy.scale < 100)
    _unary("HARD_SWISH", lambda x: fixed_point.hard_swish(x, *qx[1:], *qy[1:]), machine, qx, qy, shape, seed)


@bounded(30)
@given(
    machine=machines(),
    q=together(2, low=2.0**-10),
    shape=any_shapes(1, 5),
    alpha=st.floats(-2, 2, width=32) | st.sampled_from((0.0, 2.0**-9, 0.25)),
    seed=seeds(),
)
def test_leaky_relu(machine: Machine, q: tuple, shape: tuple[int, ...], alpha: float, seed: int) -> None:
    qx, qy = q
    ratio = f32(qx.scale) / f32(qy.scale)
    in_xnnpack = all(2**-8 <= abs(r) <= 2**7 for r in (ratio, ratio * f32(alpha)))
    rule = elementwise.leaky_relu_xnnpack if in_xnnpack else fixed_point.leaky_relu
    option = options("LeakyReluOptions", alpha=alpha)
    _unary(
        "LEAKY_RELU",
        lambda x: rule(x, alpha, *qx[1:], *qy[1:]),
        machine,
        qx,
        qy,
        shape,
        seed,
        option,
        version=2,
    )


@bounded(25)
@given(
    machine=machines(),
    q=together(3),
    shape=shapes(2, 5) | st.just((1, 9, 11, 60)),
    channels=st.booleans(),
    seed=seeds(),
)
def test_prelu(machine: Machine, q: tuple, shape: tuple[int, ...], channels: bool, seed: int) -> None:
    """One slope or one for each channel."""
    qx, qs, qy = q
    slope = values(qs.dtype, (1,) * (len(shape) - 2) + (shape[-1] if channels else 1,), seed + 1)
    model = build(
        "PRELU",
        [Operand(shape, *qx), Operand(slope.shape, *qs, data=slope)],
        Operand(shape, *qy),
        version=1,
    )
    check(
        model,
        [values(qx.dtype, shape, seed)],
        lambda x: fixed_point.prelu(x, slope, *qs[1:], *qx[1:], *qy[1:]),
        machine=machine,
    )


@bounded(40)
@given(
    machine=machines(),
    qx=quantizations(low=2.0**-10),
    qy=quantizations(low=2.0**-10),
    shape=any_shapes(1, 5),
    same=st.booleans(),
    seed=seeds(),
)
def test_quantize(
    machine: Machine, qx: Quantization, qy: Quantization, shape: tuple[int, ...], same: bool, seed: int
) -> None:
    """Between all pairs of 8-bit types, of one scale or of two; whole blocks of 16 elements, or fewer than one."""
    if same:
        qy = qy._replace(scale=qx.scale)
    ratio = f32(qx.scale) / f32(qy.scale)
    in_xnnpack = qx.dtype == qy.dtype and 2**-8 <= ratio <= 2**7
    if not in_xnnpack and not same and math.prod(shape) > 16:
        shape = (*shape[:-1], 16)

    def rule(x: np.ndarray) -> np.ndarray:
        if in_xnnpack:
            return requantize.requantize_xnnpack(x, *qx[1:], *qy[1:])
        return fixed_point.requantize(x, *qx[1:], *qy[1:], qy.dtype)

    _unary("QUANTIZE", rule, machine, qx, qy, shape, seed, version=2)


@bounded(10)
@given(machine=machines(), q=quantizations(), shape=any_shapes(1, 5), seed=seeds())
def test_real_numbers(machine: Machine, q: Quantization, shape: tuple[int, ...], seed: int) -> None:
    """QUANTIZE from float32 and DEQUANTIZE to it, at any rank."""
    x = values(q.dtype, shape, seed)
    real = requantize.dequantize(x, *q[1:])
    model = build("DEQUANTIZE", [Operand(shape, *q)], Operand(shape, "float32"), version=2)
    check(model, [x], lambda x: real, machine=machine)
    model = build("QUANTIZE", [Operand(shape, "float32")], Operand(shape, *q), version=1)
    check(
        model, [real * f32(1.01)], lambda r: requantize.quantize_xnnpack(r, *q[1:], q.dtype), machine=machine
    )


@bounded(10)
@given(machine=machines((None,)), q=together(3), shape=shapes(2, 4), seed=seeds())
def test_batch(machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qa, qb, qy = q
    model = build("MAXIMUM", [Operand(shape, *qa), Operand(shape, *qb)], Operand(shape, *qy), version=2)
    both = (3 * shape[0], *shape[1:])
    check(
        model,
        [values(qa.dtype, both, seed), values(qb.dtype, both, seed + 1)],
        machine=machine,
        batch_size=3,
    )
