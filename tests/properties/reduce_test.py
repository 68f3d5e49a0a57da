"""Reductions over any axes and the mean of several tensors, in both formats."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check, run
from tests.properties.strategies import (
    Quantization,
    any_shapes,
    machines,
    quantizations,
    seeds,
    together,
    values,
)
from tests.reference import onnx_op, tflite_op
from tests.reference.reduce import reduce_onnx, sum_onnx, sum_xnnpack

KINDS = ("ReduceSum", "ReduceMean", "ReduceL2", "ReduceMax", "ReduceMin")


@st.composite
def shapes_and_axes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape of 1 to 6 dimensions and some of its axes, negative ones among them."""
    shape = draw(any_shapes(1, 6))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    kinds = [i in axes for i, d in enumerate(shape) if d > 1]
    assume(
        sum(a != b for a, b in itertools.pairwise(kinds)) < 4
    )  # groups of dimensions that are treated alike
    return shape, tuple(a - len(shape) if draw(st.booleans()) else a for a in sorted(axes))


def onnx_model(kind: str, x: onnx_op.Operand, axes: tuple[int, ...], y: Quantization, **attributes) -> bytes:
    """Axes as an input for ReduceSum, as an attribute for the others."""
    inputs = [x]
    if kind == "ReduceSum":
        inputs.append(onnx_op.Operand((len(axes),), "int64", data=np.array(axes, np.int64)))
    else:
        attributes["axes"] = axes
    return onnx_op.build_qdq(kind, inputs, onnx_op.Operand((), *y), **attributes)


def wide(kind: str, x: Quantization, y: Quantization, count: int) -> Quantization:
    """An output scale for which not everything saturates."""
    factor = {"ReduceSum": count**0.5, "ReduceMean": count**-0.5, "ReduceL2": count**0.5}.get(kind, 1)
    return y._replace(scale=float(np.float32(x.scale * y.scale * 4 * 2.0 ** round(np.log2(factor)))))


@bounded(90)
@given(
    machine=machines(),
    kind=st.sampled_from(KINDS),
    qx=quantizations(),
    qy=quantizations(),
    case=shapes_and_axes(),
    keep=st.booleans(),
    seed=seeds(),
)
def test_onnx(machine: Machine, kind: str, qx, qy, case, keep: bool, seed: int) -> None:
    """The rule bit for bit; onnxruntime bit for bit too where the input's scale is a power of two, else within one."""
    shape, axes = case
    places = tuple(a % len(shape) for a in axes)
    count = int(np.prod([shape[a] for a in places]))
    qy = wide(kind, qx, qy, count)
    model = onnx_model(kind, onnx_op.Operand(shape, *qx), axes, qy, keepdims=int(keep))
    x = values(qx.dtype, shape, seed)
    result = check(
        model,
        [x],
        lambda x: reduce_onnx(kind, x, places, keep, *qx[1:], *qy[1:], qy.dtype),
        machine=machine,
        reference=False,
    )
    off = np.abs(result.outputs[0].astype(int) - run(model, [x])[0])
    largest = count * (255**2 if kind == "ReduceL2" else 255)  # a sum that float32 holds in any order
    summed = kind not in ("ReduceMax", "ReduceMin")
    exact = not summed or (np.frexp(qx.scale)[0] == 0.5 and largest < 1 << 24)
    assert off.max() <= (0 if exact else 1)


@bounded(10)
@given(machine=machines((None,)), q=together(2), shape=any_shapes(2, 4), seed=seeds())
def test_onnx_axes_left_out(machine: Machine, q, shape, seed: int) -> None:
    """No axes: all of them, or none with noop_with_empty_axes."""
    qx, qy = q
    x = values(qx.dtype, shape, seed)
    model = onnx_op.build_qdq("ReduceSum", [onnx_op.Operand(shape, *qx)], onnx_op.Operand((), *qy))
    every = tuple(range(len(shape)))
    check(
        model,
        [x],
        lambda x: reduce_onnx("ReduceSum", x, every, True, *qx[1:], *qy[1:], qy.dtype),
        machine=machine,
        max_lsb=1,
    )
    none = onnx_op.build_qdq(
        "ReduceSum", [onnx_op.Operand(shape, *qx)], onnx_op.Operand((), *qy), noop_with_empty_axes=1
    )
    check(none, [x], machine=machine)


@bounded(25)
@given(
    machine=machines(),
    kind=st.sampled_from(("GlobalAveragePool", "GlobalMaxPool")),
    q=together(2),
    shape=any_shapes(3, 4),
    seed=seeds(),
)
def test_onnx_global_pools(machine: Machine, kind: str, q, shape, seed: int) -> None:
    qx, qy = q
    model = onnx_op.build_qdq(kind, [onnx_op.Operand(shape, *qx)], onnx_op.Operand((), *qy))
    check(model, [values(qx.dtype, shape, seed)], machine=machine)


def after_a_convolution(kind: str, **attributes) -> bytes:
    """x int8 [1, 3, 9, 8] -> Conv [1, 6, 7, 6] -> an operator, quantised before, between and after."""
    weights = np.random.default_rng(0).integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)
    text = f"""
        <ir_version: 8, opset_import: ["": 13]> g (int8[1,3,9,8] x) => (int8[] y)
        <float s0 = {{0.05}}, int8 z0 = {{3}}, float s1 = {{0.01}}, int8 z1 = {{0}}, float s2 = {{0.5}}, int8 z2 = {{-9}}, float s3 = {{0.125}}>
        {{
            a = DequantizeLinear (x, s0, z0)
            b = DequantizeLinear (w, s1, z1)
            c = Conv (a, b)
            d = QuantizeLinear (c, s2, z2)
            e = DequantizeLinear (d, s2, z2)
            f = {kind} (e)
            y = QuantizeLinear (f, s3, z0)
        }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    (node,) = (n for n in model.graph.node if n.op_type == kind)
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model.SerializeToString()


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [(1,), (2,), (3,), (1, 2), (2, 3), (0, 3), (0, 1, 2, 3)])
def test_onnx_after_a_convolution(axes: tuple[int, ...], keep: int) -> None:
    """The input has its channels last there; what is kept comes back in the order of ONNX."""
    check(after_a_convolution("ReduceMean", axes=axes, keepdims=keep), [values("int8", (1, 3, 9, 8), 1)])


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["Softmax", "LpNormalization"])
def test_onnx_normalization_after_a_convolution(kind: str, axis: int) -> None:
    check(after_a_convolution(kind, axis=axis), [values("int8", (1, 3, 9, 8), 1)])


@bounded(40)
@given(
    machine=machines(),
    kind=st.sampled_from(("Sum", "Mean")),
    quantized=st.lists(quantizations(low=2.0**-5), min_size=1, max_size=6),
    qy=quantizations(low=2.0**-5),
    shape=any_shapes(1, 4),
    data=st.data(),
    seed=seeds(),
)
def test_onnx_sum_and_mean_of_tensors(
    machine: Machine, kind: str, quantized, qy, shape, data, seed: int
) -> None:
    """Of any number of tensors; some have one element in place of a dimension."""
    ones = [
        data.draw(st.sets(st.integers(0, len(shape) - 1))) if i % 3 == 2 else ()
        for i in range(len(quantized))
    ]
    shapes = [tuple(1 if i in own else d for i, d in enumerate(shape)) for own in ones]
    operands = [onnx_op.Operand(own, *q) for own, q in zip(shapes, quantized)]
    model = onnx_op.build_qdq(kind, operands, onnx_op.Operand((), *qy))
    inputs = [values(q.dtype, own, seed + i) for i, (own, q) in enumerate(zip(shapes, quantized))]
    scales, zero_points = [q.scale for q in quantized], [q.zero_point for q in quantized]
    n = len(quantized) if kind == "Mean" else 1
    check(model, inputs, lambda *x: sum_onnx(x, scales, zero_points, n, *qy[1:], qy.dtype), machine=machine)


@bounded(60)
@given(
    machine=machines(),
    operator=st.sampled_from(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN")),
    q=together(2),
    case=shapes_and_axes(),
    keep=st.booleans(),
    seed=seeds(),
)
def test_tflite(machine: Machine, operator: str, q, case, keep: bool, seed: int) -> None:
    (qx, qy), (shape, axes) = q, case
    places = tuple(a % len(shape) for a in axes)
    given_axes = tflite_op.Operand((len(axes),), "int32", data=np.array(axes, np.int32))
    option = tflite_op.options("ReducerOptions", keepDims=keep)

    def rule(x: np.ndarray) -> np.ndarray:
        if operator in ("SUM", "MEAN"):
            return sum_xnnpack(x, places, keep, *qx[1:], *qy[1:], mean=operator == "MEAN")
        return np.asarray((x.max if operator == "REDUCE_MAX" else x.min)(axis=places, keepdims=keep))

    kept = [1 if i in places else d for i, d in enumerate(shape) if keep or i not in places]
    operands = [tflite_op.Operand(shape, *qx), given_axes]
    model = tflite_op.build(operator, operands, tflite_op.Operand(tuple(kept), *qy), option, version=2)
    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(10)
@given(machine=machines((None,)), q=together(2), shape=any_shapes(4, 4), seed=seeds())
def test_onnx_qlinear_global_average_pool(machine: Machine, q, shape, seed: int) -> None:
    qx, qy = q
    output = onnx_op.Operand((*shape[:2], 1, 1), *qy)
    name = "QLinearGlobalAveragePool"
    model = onnx_op.build_qoperator(name, [onnx_op.Operand(shape, *qx)], output, domain="com.microsoft")
    check(model, [values(qx.dtype, shape, seed)], machine=machine)


@bounded(15)
@given(
    machine=machines((None,)),
    kind=st.sampled_from(("ReduceMean", "ReduceL2", "ReduceMax")),
    q=together(2),
    case=shapes_and_axes(),
    seed=seeds(),
)
def test_onnx_in_a_batch(machine: Machine, kind: str, q, case, seed: int) -> None:
    """Three samples along dimension 0, which stays: each gives what it gives alone."""
    (qx, qy), (shape, axes) = q, case
    places = tuple(a % len(shape) for a in axes)
    assume(0 not in places)
    model = onnx_model(kind, onnx_op.Operand(shape, *qx), places, qy, keepdims=1)
    x = values(qx.dtype, (3 * shape[0], *shape[1:]), seed)
    check(
        model,
        [x],
        lambda x: reduce_onnx(kind, x, places, True, *qx[1:], *qy[1:], qy.dtype),
        machine=machine,
        batch_size=3,
        reference=False,
    )
