"""Matrix products in both formats: by constants, of two activations, with every form of bias."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.compiler.pipeline import Compilation, Options
from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import machines, quantizations, scales, seeds, values, zero_points
from tests.reference import onnx_op, tflite_op
from tests.reference.conv import accumulate, multipliers, requantize
from tests.reference.matmul import matmul, matmul_builtin
from tests.reference.rounding import activation_bounds_builtin, activation_bounds_xnnpack

BATCHES = (
    *(((), ()), ((3,), ()), ((), (3,)), ((2,), (2,)), ((2, 3), (2, 3))),
    *(
        ((2, 1), (1, 3)),
        ((2, 3), (3,)),
        ((2, 2, 3), (2, 2, 3)),
        ((2, 2, 1, 1), (1, 1, 3, 2)),
        ((2, 2, 2), ()),
    ),
)


def sides() -> st.SearchStrategy[tuple[int, int, int]]:
    """Rows, depth and columns; one in four large enough for tiles."""
    small = st.tuples(*[st.integers(1, 20)] * 3)
    large = st.tuples(st.integers(1, 60), st.integers(50, 200), st.integers(1, 80))
    return st.sampled_from((small, small, small, large)).flatmap(lambda s: s)


def fitting(a: float, b: float, depth: int, factor: float = 8.0) -> float:
    """An output scale for which not everything saturates."""
    return float(np.float32(a * b * factor * 2.0 ** round(np.log2(depth * 64) / 2)))


@st.composite
def factors(draw: st.DrawFn) -> tuple[str, str]:
    """Element types that onnxruntime multiplies as integers."""
    return draw(st.sampled_from((("int8", "int8"), ("uint8", "uint8"), ("uint8", "int8"))))


@bounded(40)
@given(
    machine=machines(),
    types=factors(),
    batch=st.sampled_from(BATCHES),
    size=sides(),
    constant=st.booleans(),
    vectors=st.sampled_from(("", "", "", "a", "b")),
    data=st.data(),
    seed=seeds(),
)
def test_onnx_matmul(
    machine: Machine, types, batch, size, constant: bool, vectors: str, data, seed: int
) -> None:
    rows, depth, columns = size
    qa, qb = (data.draw(quantizations((t,))) for t in types)
    qy = qa._replace(scale=fitting(qa.scale, qb.scale, depth), zero_point=data.draw(zero_points(qa.dtype)))
    shape_a = (depth,) if vectors == "a" else (*batch[0], rows, depth)
    shape_b = (depth,) if vectors == "b" else (*batch[1], depth, columns)
    a, b = values(qa.dtype, shape_a, seed), values(qb.dtype, shape_b, seed + 1)
    operands = [onnx_op.Operand(shape_a, *qa), onnx_op.Operand(shape_b, *qb, data=b if constant else None)]
    model = onnx_op.build_qdq("MatMul", operands, onnx_op.Operand((), *qy))
    inputs = [a] if constant else [a, b]
    check(model, inputs, lambda a, b=b: matmul(a, b, *qa[1:], *qb[1:], *qy[1:]), machine=machine)


@bounded(40)
@given(
    machine=machines(),
    types=factors(),
    size=sides(),
    transposed=st.tuples(st.booleans(), st.booleans()),
    form=st.sampled_from((None, "0", "1", "N", "1N", "M1", "MN", "alpha")),
    weights=st.sampled_from(("per channel", "constant", "activation")),
    data=st.data(),
    seed=seeds(),
)
def test_onnx_gemm(machine: Machine, types, size, transposed, form, weights: str, data, seed: int) -> None:
    m, k, n = size
    per_channel = weights == "per channel" and types[1] == "int8" and form in (None, "N", "alpha")
    qa, qb = (data.draw(quantizations((t,))) for t in types)
    if per_channel:
        low = np.random.default_rng(seed).uniform(0.5, 1, n).astype(np.float32)
        qb = qb._replace(scale=low * np.float32(qb.scale), zero_point=0)
    middle = float(np.max(qb.scale))
    qy = qa._replace(scale=fitting(qa.scale, middle, k), zero_point=data.draw(zero_points(qa.dtype)))
    shape_a, shape_b = (k, m) if transposed[0] else (m, k), (n, k) if transposed[1] else (k, n)
    a, b = values(qa.dtype, shape_a, seed), values(qb.dtype, shape_b, seed + 1)
    dynamic = weights == "activation"
    axis = (0 if transposed[1] else 1) if per_channel else None
    operands = [
        onnx_op.Operand(shape_a, *qa),
        onnx_op.Operand(shape_b, *qb, data=None if dynamic else b, axis=axis),
    ]
    bias, alpha = None, 1.0
    if form == "alpha":
        alpha = data.draw(st.sampled_from((0.5, 0.3, 2.0)))
    elif form is not None:
        shape = {"0": (), "1": (1,), "N": (n,), "1N": (1, n), "M1": (m, 1), "MN": (m, n)}[form]
        bias = np.random.default_rng(seed).integers(-9999, 9999, shape).astype(np.int32)
        scale = np.float32(qa.scale) * np.asarray(qb.scale, np.float32)
        bias_axis = 0 if per_channel else None
        zeros = np.zeros(np.shape(scale), np.int32)
        operands.append(onnx_op.Operand(shape, "int32", scale, zeros, data=bias, axis=bias_axis))
    attributes = {"transA": int(transposed[0]), "transB": int(transposed[1]), "alpha": alpha}
    model = onnx_op.build_qdq("Gemm", operands, onnx_op.Operand((), *qy), **attributes)

    def rule(a: np.ndarray, b: np.ndarray = b) -> np.ndarray:
        a, b = a.T if transposed[0] else a, b.T if transposed[1] else b
        return matmul(a, b, *qa[1:], *qb[1:], *qy[1:], bias=bias, alpha=alpha)

    check(model, [a, b] if dynamic else [a], rule, machine=machine)


@bounded(30)
@given(
    machine=machines(),
    batch=st.sampled_from(BATCHES[:5]),
    size=sides(),
    swap=st.tuples(st.booleans(), st.booleans()),
    constant=st.booleans(),
    qa=quantizations(("int8",)),
    b_scale=scales(),
    y_zero_point=zero_points("int8"),
    seed=seeds(),
)
def test_tflite_batch_matmul(
    machine: Machine, batch, size, swap, constant, qa, b_scale, y_zero_point, seed
) -> None:
    m, k, n = size
    y_scale = fitting(qa.scale, b_scale, k)
    shape_a = (*batch[0], *((k, m) if swap[0] else (m, k)))
    shape_b = (*batch[1], *((n, k) if swap[1] else (k, n)))
    a, b = values("int8", shape_a, seed), values("int8", shape_b, seed + 1)
    operands = [
        tflite_op.Operand(shape_a, *qa),
        tflite_op.Operand(shape_b, "int8", b_scale, 0, data=b if constant else None),
    ]
    output = tflite_op.Operand((*np.broadcast_shapes(*batch), m, n), "int8", y_scale, y_zero_point)
    option = tflite_op.options("BatchMatMulOptions", adjX=swap[0], adjY=swap[1])
    model = tflite_op.build("BATCH_MATMUL", operands, output, option, version=2)

    def rule(a: np.ndarray, b: np.ndarray = b) -> np.ndarray:
        a, b = a.swapaxes(-1, -2) if swap[0] else a, b.swapaxes(-1, -2) if swap[1] else b
        return matmul(a, b, *qa[1:], b_scale, 0, y_scale, y_zero_point)

    check(model, [a] if constant else [a, b], rule, machine=machine)


@bounded(40)
@given(
    machine=machines(),
    size=sides(),
    dense=st.booleans(),
    qa=quantizations(("int8",)),
    qb=quantizations(("int8",)),
    with_bias=st.booleans(),
    activation=st.sampled_from(("NONE", "RELU", "RELU6")),
    y_zero_point=zero_points("int8"),
    seed=seeds(),
)
def test_tflite_builtin_products(
    machine: Machine, size, dense, qa, qb, with_bias, activation, y_zero_point, seed
) -> None:
    """BATCH_MATMUL with a second zero point, FULLY_CONNECTED with weights that are no constants."""
    m, k, n = size
    qb = qb._replace(zero_point=0 if dense else qb.zero_point or 1)
    qy = qa._replace(scale=fitting(qa.scale, qb.scale, k), zero_point=y_zero_point)
    a, b = values("int8", (m, k), seed), values("int8", (n, k) if dense else (k, n), seed + 1)
    operands = [tflite_op.Operand(a.shape, *qa), tflite_op.Operand(b.shape, *qb)]
    output = tflite_op.Operand((m, n), *qy)
    bias, bounds = None, None
    if dense:
        if with_bias:
            bias = np.random.default_rng(seed).integers(-9999, 9999, n).astype(np.int32)
        scale = np.float32(qa.scale) * np.float32(qb.scale)
        operands.append(tflite_op.Operand((n,), "int32", scale, data=bias) if with_bias else None)
        code = {"NONE": 0, "RELU": 1, "RELU6": 3}[activation]
        option = tflite_op.options("FullyConnectedOptions", fusedActivationFunction=code)
        model = tflite_op.build("FULLY_CONNECTED", operands, output, option)
        bounds = activation_bounds_builtin(activation, *qy[1:], "int8")
    else:
        model = tflite_op.build(
            "BATCH_MATMUL", operands, output, tflite_op.options("BatchMatMulOptions"), version=2
        )

    def rule(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        numbers = (*qa[1:], *qb[1:], *qy[1:])
        return matmul_builtin(a, b.T if dense else b, *numbers, bias, bounds, fully_connected=dense)

    check(model, [a, b], rule, machine=machine)


@bounded(30)
@given(
    machine=machines(),
    size=sides(),
    qx=quantizations(),
    w_scale=scales(),
    keep=st.booleans(),
    with_bias=st.booleans(),
    activation=st.sampled_from(("NONE", "RELU", "RELU6", "RELU_N1_TO_1")),
    data=st.data(),
    seed=seeds(),
)
def test_tflite_fully_connected(
    machine: Machine, size, qx, w_scale, keep, with_bias, activation, data, seed
) -> None:
    m, k, n = size
    w_zero_point = data.draw(zero_points("uint8")) if qx.dtype == "uint8" else 0
    y_scale, y_zero_point = fitting(qx.scale, w_scale, k), data.draw(zero_points(qx.dtype))
    shape = (2, m, k) if keep else (m, k)
    x, w = values(qx.dtype, shape, seed), values(qx.dtype, (n, k), seed + 1)
    if qx.dtype == "int8":
        w = np.maximum(w, -127)
    bias = np.random.default_rng(seed).integers(-9999, 9999, n).astype(np.int32) if with_bias else None
    operands = [
        tflite_op.Operand(shape, *qx),
        tflite_op.Operand((n, k), qx.dtype, w_scale, w_zero_point, data=w),
        tflite_op.Operand((n,), "int32", np.float32(qx.scale) * np.float32(w_scale), data=bias)
        if with_bias
        else None,
    ]
    code = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[activation]
    option = tflite_op.options("FullyConnectedOptions", keepNumDims=keep, fusedActivationFunction=code)
    output = tflite_op.Operand((*shape[:-1], n), qx.dtype, y_scale, y_zero_point)
    model = tflite_op.build("FULLY_CONNECTED", operands, output, option)
    bounds = activation_bounds_xnnpack(activation, y_scale, y_zero_point, qx.dtype)

    def rule(x: np.ndarray) -> np.ndarray:
        rows = x.reshape(1, 1, -1, k)
        acc = accumulate(rows, w[:, None, None, :], bias, qx.zero_point, w_zero_point)
        m = multipliers(qx.scale, [w_scale], y_scale)
        return requantize(acc, m, y_zero_point, qx.dtype, bounds).reshape(*shape[:-1], n)

    check(model, [x], rule, machine=machine)


@bounded(15)
@given(
    machine=machines(),
    types=factors(),
    batch=st.sampled_from(BATCHES[:5]),
    size=sides(),
    constant=st.booleans(),
    data=st.data(),
    seed=seeds(),
)
def test_onnx_qlinear_matmul(machine: Machine, types, batch, size, constant: bool, data, seed: int) -> None:
    """The same in QOperator form."""
    m, k, n = size
    qa, qb = (data.draw(quantizations((t,))) for t in types)
    qy = qa._replace(scale=fitting(qa.scale, qb.scale, k), zero_point=data.draw(zero_points(qa.dtype)))
    shape_a, shape_b = (*batch[0], m, k), (*batch[1], k, n)
    a, b = values(qa.dtype, shape_a, seed), values(qb.dtype, shape_b, seed + 1)
    operands = [onnx_op.Operand(shape_a, *qa), onnx_op.Operand(shape_b, *qb, data=b if constant else None)]
    shape_y = (*np.broadcast_shapes(*batch), m, n)
    model = onnx_op.build_qoperator("QLinearMatMul", operands, onnx_op.Operand(shape_y, *qy))
    inputs = [a] if constant else [a, b]
    check(model, inputs, lambda a, b=b: matmul(a, b, *qa[1:], *qb[1:], *qy[1:]), machine=machine)


def _reasons(model: bytes) -> set[str]:
    compiled = Compilation(model, Options("warboy", 1)).run()
    return {r.rule for v in compiled.ldfg.verdicts.values() for r in v.reasons}


@pytest.mark.parametrize(
    ("a", "b", "y"), [("int8", "uint8", "int8"), ("int8", "int8", "uint8"), ("uint8", "uint8", "int8")]
)
def test_onnx_types_that_onnxruntime_multiplies_as_real_numbers(a: str, b: str, y: str) -> None:
    operands = [onnx_op.Operand((4, 8), a, 0.1, 3), onnx_op.Operand((8, 4), b, 0.1, 3)]
    model = onnx_op.build_qdq("MatMul", operands, onnx_op.Operand((), y, 0.1, 3))
    assert _reasons(model) == {"reference-arithmetic"}


def test_onnx_gemm_with_alpha_and_bias() -> None:
    x, w = onnx_op.Operand((4, 8), "int8", 0.1, 3), onnx_op.Operand((8, 4), "int8", 0.1, 0)
    bias = onnx_op.Operand((4,), "int32", np.float32(0.01), 0, data=np.ones(4, np.int32))
    model = onnx_op.build_qdq("Gemm", [x, w, bias], onnx_op.Operand((), "int8", 0.1, 3), alpha=0.5)
    assert _reasons(model) == {"reference-arithmetic"}


def test_tflite_weights_that_are_no_constants_with_a_zero_point() -> None:
    x, y = tflite_op.Operand((4, 8), "int8", 0.1, 3), tflite_op.Operand((4, 4), "int8", 0.1, 3)
    option = tflite_op.options("FullyConnectedOptions")
    weights = tflite_op.Operand((4, 8), "int8", 0.1, 3)
    model = tflite_op.build("FULLY_CONNECTED", [x, weights, None], y, option)
    assert _reasons(model) == {"reference-arithmetic"}


def test_onnx_factors_that_repeat_in_too_many_groups() -> None:
    a, b = onnx_op.Operand((2, 1, 2, 3, 3), "int8", 0.1, 3), onnx_op.Operand((3, 1, 3, 4), "int8", 0.1, 3)
    assert _reasons(onnx_op.build_qdq("MatMul", [a, b], onnx_op.Operand((), "int8", 0.1, 3))) == {
        "dimension-groups"
    }


@bounded(10)
@given(machine=machines((None,)), size=sides(), qa=quantizations(), qb=quantizations(), seed=seeds())
def test_onnx_matmul_in_a_batch(machine: Machine, size, qa, qb, seed: int) -> None:
    """Two activations, each with three samples along dimension 0."""
    m, k, n = size
    qb = qb._replace(dtype=qa.dtype, zero_point=qa.zero_point)
    qy = qa._replace(scale=fitting(qa.scale, qb.scale, k))
    operands = [onnx_op.Operand((2, m, k), *qa), onnx_op.Operand((2, k, n), *qb)]
    model = onnx_op.build_qdq("MatMul", operands, onnx_op.Operand((), *qy))
    a, b = values(qa.dtype, (6, m, k), seed), values(qb.dtype, (6, k, n), seed + 1)
    check(model, [a, b], lambda a, b: matmul(a, b, *qa[1:], *qb[1:], *qy[1:]), machine=machine, batch_size=3)


def test_tflite_builtin_products_with_a_factor_of_one() -> None:
    """The fixed point of the command ends below 1."""
    x, w = tflite_op.Operand((4, 8), "int8", 0.5, 3), tflite_op.Operand((4, 8), "int8", 0.5, 0)
    option = tflite_op.options("FullyConnectedOptions")
    model = tflite_op.build(
        "FULLY_CONNECTED", [x, w, None], tflite_op.Operand((4, 4), "int8", 0.25, 0), option
    )
    assert _reasons(model) == {"reference-arithmetic"}
