"""ONNX: functions of one value, operators of two tensors with broadcasting, constants on either side."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import (
    DTYPES,
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
from tests.reference import onnx_op, table
from tests.reference.elementwise import add_onnxruntime, float_onnxruntime, multiply_onnxruntime
from tests.reference.rounding import f32

Pair = tuple[tuple[int, ...], tuple[int, ...]]
CONSTANTS = st.floats(-4, 4, width=32)


@pytest.mark.parametrize("operator", table.FUNCTIONS)
@bounded(8)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), seed=seeds())
def test_functions(operator: str, machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    _unary([(operator, {})], table.FUNCTIONS[operator], machine, q, shape, seed)


@pytest.mark.parametrize("operator", ["Clip", "Elu", "Gelu", "HardSigmoid", "LeakyRelu", "Pow"])
@bounded(8)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), seed=seeds(), a=CONSTANTS, b=CONSTANTS)
def test_functions_with_attributes(
    operator: str, machine: Machine, q: tuple, shape: tuple[int, ...], seed: int, a: float, b: float
) -> None:
    low, high = min(a, b), max(a, b)
    attributes, function = {
        "Clip": ({"inputs": [f32(low), f32(high)]}, table.clip(low, high)),
        "Elu": ({"alpha": a}, table.elu(a)),
        "Gelu": ({"approximate": "tanh"}, table.gelu_tanh),
        "HardSigmoid": ({"alpha": a, "beta": b}, table.hard_sigmoid(a, b)),
        "LeakyRelu": ({"alpha": a}, table.leaky_relu(a)),
        "Pow": ({"inputs": [f32(round(a))]}, table.power(round(a))),
    }[operator]
    _unary([(operator, attributes)], function, machine, q, shape, seed)


def _unary(
    chain: list, function: object, machine: Machine, q: tuple, shape: tuple[int, ...], seed: int
) -> None:
    qx, qy = q
    x = values(qx.dtype, shape, seed)
    model = onnx_op.build_qdq(chain, [onnx_op.Operand(shape, *qx)], onnx_op.Operand(shape, *qy), opset=20)
    entries = table.table_onnxruntime(function, *qx[1:], *qy[1:], qx.dtype)
    check(model, [x], lambda x: table.lookup(x, entries), machine=machine)


@pytest.mark.parametrize("operator", ["Add", "Mul"])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@bounded(20)
@given(machine=machines(), q=together(3), pair=broadcasts(), constant=st.integers(0, 2), seed=seeds())
def test_fused(
    operator: str, form: str, machine: Machine, q: tuple, pair: Pair, constant: int, seed: int
) -> None:
    """QLinearAdd and QLinearMul; none, the first or the second operand a constant."""
    qa, qb, qy = q
    arrays = [values(qa.dtype, pair[0], seed), values(qb.dtype, pair[1], seed + 1)]
    operands = [
        onnx_op.Operand(shape, *own, data=x if constant == i + 1 else None)
        for i, (shape, own, x) in enumerate(zip(pair, (qa, qb), arrays))
    ]
    y = onnx_op.Operand(np.broadcast_shapes(*pair), *qy)
    if form == "QDQ":
        model = onnx_op.build_qdq(operator, operands, y)
    else:
        model = onnx_op.build_qoperator("QLinear" + operator, operands, y, domain="com.microsoft")
    rule = multiply_onnxruntime if operator == "Mul" else add_onnxruntime
    order = -1 if operator == "Add" and _runs_of_one(*pair) else 1

    def both(*given: np.ndarray) -> np.ndarray:
        left = iter(given)
        (a, qa_), (b, qb_) = [
            (o.data if o.data is not None else next(left), own) for o, own in zip(operands, (qa, qb))
        ][::order]
        return rule(a, b, *qa_[1:], *qb_[1:], *qy[1:])

    check(model, [x for x, o in zip(arrays, operands) if o.data is None], both, machine=machine)


def _runs_of_one(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether the innermost dimension that is not 1 belongs to b only: then onnxruntime swaps the operands."""
    for i in range(1, len(np.broadcast_shapes(a, b)) + 1):
        side_a, side_b = (s[-i] if i <= len(s) else 1 for s in (a, b))
        if (side_a, side_b) != (1, 1):
            return side_a == 1
    return False


@pytest.mark.parametrize("operator", ["QLinearSigmoid", "QLinearLeakyRelu"])
@bounded(12)
@given(machine=machines(), q=together(2), shape=any_shapes(1, 5), seed=seeds())
def test_qoperators(operator: str, machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    qx, qy = q
    attributes = {"alpha": 0.3} if operator == "QLinearLeakyRelu" else {}
    function = table.leaky_relu(0.3) if attributes else table.FUNCTIONS["Sigmoid"]
    model = onnx_op.build_qoperator(
        operator,
        [onnx_op.Operand(shape, *qx)],
        onnx_op.Operand(shape, *qy),
        domain="com.microsoft",
        **attributes,
    )
    entries = table.table_onnxruntime(function, *qx[1:], *qy[1:], qx.dtype)
    check(model, [values(qx.dtype, shape, seed)], lambda x: table.lookup(x, entries), machine=machine)


_NUMPY = {
    "Add": np.add,
    "Max": np.maximum,
    "Mean": lambda a, b: (a + b) / f32(2),
    "Min": np.minimum,
    "Mul": np.multiply,
    "Sub": np.subtract,
    "Sum": np.add,
}


@pytest.mark.parametrize("operator", _NUMPY)
@bounded(12)
@given(
    machine=machines(),
    q=st.tuples(quantizations(), quantizations(), quantizations()),
    pair=broadcasts(),
    relu=st.booleans(),
    seed=seeds(),
)
def test_in_float(operator: str, machine: Machine, q: tuple, pair: Pair, relu: bool, seed: int) -> None:
    """What onnxruntime does not fuse: mixed types, an activation, operators that it has no integer kernel for."""
    qa, qb, qy = q
    if operator in ("Add", "Mul") and len({qa.dtype, qb.dtype, qy.dtype}) == 1:
        qb = Quantization(DTYPES[qa.dtype == DTYPES[0]], qb.scale, 7)  # else it is fused
    operands = [onnx_op.Operand(pair[0], *qa), onnx_op.Operand(pair[1], *qb)]
    chain = [(operator, {}), ("Relu", {})] if relu else [(operator, {})]
    model = onnx_op.build_qdq(chain, operands, onnx_op.Operand(np.broadcast_shapes(*pair), *qy))

    def function(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        real = _NUMPY[operator](a, b)
        return np.maximum(real, 0) if relu else real

    check(
        model,
        [values(qa.dtype, pair[0], seed), values(qb.dtype, pair[1], seed + 1)],
        lambda a, b: float_onnxruntime(function, a, b, *qa[1:], *qb[1:], *qy[1:], dtype=qy.dtype),
        machine=machine,
    )


@bounded(25)
@given(
    machine=machines(),
    q=st.tuples(quantizations(), quantizations(), quantizations(low=2.0**-6)),
    pair=broadcasts(),
    clip=st.booleans(),
    seed=seeds(),
)
def test_division(machine: Machine, q: tuple, pair: Pair, clip: bool, seed: int) -> None:
    """By a tensor that has its zero point among its values: infinities are the ends, 0 / 0 the lowest value."""
    qa, qb, qy = q
    operands = [onnx_op.Operand(pair[0], *qa), onnx_op.Operand(pair[1], *qb)]
    chain = [("Div", {})] + ([("Clip", {"inputs": [f32(-1), f32(2)]})] if clip else [])
    model = onnx_op.build_qdq(chain, operands, onnx_op.Operand(np.broadcast_shapes(*pair), *qy))
    a, b = values(qa.dtype, pair[0], seed), values(qb.dtype, pair[1], seed + 1)
    if not clip:  # onnxruntime clips a NaN to the lower bound, and keeps it, from one processor to another
        b.reshape(-1)[:: 1 + seed % 3] = qb.zero_point
        a.reshape(-1)[:: 2 + seed % 3] = qa.zero_point
    else:
        b[b == qb.zero_point] = qb.zero_point + (1 if qb.zero_point < np.iinfo(qb.dtype).max else -1)

    def function(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            real = a / b
        lowest, highest = (f32(-1), f32(2)) if clip else (f32(-1e12), f32(1e12))
        return np.clip(np.where(np.isnan(real), lowest, real), lowest, highest)

    check(
        model,
        [a, b],
        lambda a, b: float_onnxruntime(function, a, b, *qa[1:], *qb[1:], *qy[1:], dtype=qy.dtype),
        machine=machine,
    )


@bounded(15)
@given(
    machine=machines(), q=together(4), shape=shapes(1, 5), kind=st.sampled_from(("Max", "Min")), seed=seeds()
)
def test_of_three(machine: Machine, q: tuple, shape: tuple[int, ...], kind: str, seed: int) -> None:
    *qs, qy = q
    parts = [shape, shape[-1:], (1, *shape[1:])]
    model = onnx_op.build_qdq(
        kind, [onnx_op.Operand(s, *own) for s, own in zip(parts, qs)], onnx_op.Operand(shape, *qy)
    )
    check(
        model, [values(own.dtype, s, seed + i) for i, (s, own) in enumerate(zip(parts, qs))], machine=machine
    )


_BY_CONSTANT = {**_NUMPY, "Div": np.divide, "PRelu": lambda x, c: np.where(x >= 0, x, x * c)}
_LEFT = ("Add", "Div", "Max", "Mul", "Sub")  # the constant may stand on the left


@pytest.mark.parametrize("operator", _BY_CONSTANT)
@bounded(12)
@given(
    machine=machines(),
    q=together(3),
    shape=shapes(1, 5) | st.just((1, 60, 9, 11)),
    along=st.sampled_from(("one value", "last", "channels")),
    left=st.booleans(),
    quantized=st.booleans(),
    seed=seeds(),
)
def test_by_a_constant(
    operator: str,
    machine: Machine,
    q: tuple,
    shape: tuple[int, ...],
    along: str,
    left: bool,
    quantized: bool,
    seed: int,
) -> None:
    """One value or one for each channel, a real constant or (Div, PRelu) a quantised one: a table, or a table a channel."""
    qx, qc, qy = q
    sides = [1] * len(shape)
    if along == "last" or (along == "channels" and len(shape) != 4):
        sides = [shape[-1]]
    elif along == "channels":
        sides = [shape[1], 1, 1]
    assume(max(sides) <= 300)
    if quantized and operator in ("Div", "PRelu"):
        data = values(qc.dtype, tuple(sides), seed + 1)
        constant = onnx_op.Operand(tuple(sides), *qc, data=data)
        real = (data.astype(np.int64) - qc.zero_point).astype(f32) * f32(qc.scale)
    else:
        real = np.random.default_rng(seed).uniform(-3, 3, sides).astype(f32)
        constant = onnx_op.Operand(tuple(sides), "float32", data=real)
    operands = [onnx_op.Operand(shape, *qx), constant]
    order = -1 if left and operator in _LEFT else 1
    model = onnx_op.build_qdq(operator, operands[::order], onnx_op.Operand(shape, *qy), opset=16)

    def rule(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            given = (x.astype(np.int64) - qx.zero_point).astype(f32) * f32(qx.scale)
            steps = _BY_CONSTANT[operator](*(given, real)[::order]).astype(f32) / f32(qy.scale)
        info = np.iinfo(qy.dtype)
        steps = np.rint(np.where(np.isnan(steps), -np.inf, steps)) + qy.zero_point
        return np.clip(steps, info.min, info.max).astype(qy.dtype)

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(8)
@given(machine=machines((None,)), q=together(3), pair=broadcasts(4), seed=seeds())
def test_batch(machine: Machine, q: tuple, pair: Pair, seed: int) -> None:
    """Both operands have the batch."""
    qa, qb, qy = q
    rank = max(map(len, pair))
    a, b = ((2, *[1] * (rank - len(s)), *s) for s in pair)
    model = onnx_op.build_qdq(
        "Add",
        [onnx_op.Operand(a, *qa), onnx_op.Operand(b, *qb)],
        onnx_op.Operand(np.broadcast_shapes(a, b), *qy),
    )
    a, b = (4, *a[1:]), (4, *b[1:])
    check(model, [values(qa.dtype, a, seed), values(qb.dtype, b, seed + 1)], machine=machine, batch_size=2)


def test_same_tensor_twice() -> None:
    """Add(x, x) from one DequantizeLinear."""
    q = Quantization("int8", 0.5, 3)
    model = onnx.load_from_string(
        onnx_op.build_qdq(
            "Add", [onnx_op.Operand((1, 7, 5, 3), *q)] * 2, onnx_op.Operand((1, 7, 5, 3), "int8", 0.75, 4)
        )
    )
    del model.graph.input[1]
    keep = [n for n in model.graph.node if "x1" not in n.input]
    for node in keep:
        node.input[:] = ["x0_dq" if name == "x1_dq" else name for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(keep)
    assert [n.op_type for n in keep].count("DequantizeLinear") == 1
    x = values("int8", (1, 7, 5, 3), 0)
    check(model.SerializeToString(), [x], lambda x: add_onnxruntime(x, x, *q[1:], *q[1:], 0.75, 4))


def test_limits_of_real_numbers() -> None:
    """A square root of negative numbers is NaN, which QuantizeLinear makes the lowest value; infinities saturate."""
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 256)
    for operator in ("Sqrt", "Log", "Exp"):
        for zero_point in (-128, 0, 127):
            qx, qy = Quantization("int8", 1.0, 0), Quantization("int8", 0.1, zero_point)
            model = onnx_op.build_qdq(
                operator, [onnx_op.Operand(x.shape, *qx)], onnx_op.Operand(x.shape, *qy)
            )
            with np.errstate(invalid="ignore"):
                entries = table.table_onnxruntime(table.FUNCTIONS[operator], *qx[1:], *qy[1:], "int8")
            check(model, [x], lambda x, entries=entries: table.lookup(x, entries))
