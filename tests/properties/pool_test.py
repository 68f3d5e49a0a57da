"""MaxPool, AveragePool, MAX_POOL_2D and AVERAGE_POOL_2D."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import (
    Quantization,
    any_shapes,
    machines,
    quantizations,
    seeds,
    together,
    values,
)
from tests.properties.windows import ACTIVATIONS, Windows, windows
from tests.reference import onnx_op, pool, rounding, tflite_op
from tests.reference.rounding import f32, rint, saturate


def _ceil(geometry: Windows) -> tuple[int, int]:
    """The number of windows with ceil_mode: one more where a part of the input is left, unless it would begin in the padding."""
    out = []
    for i in (0, 1):
        pad, stride = geometry.pads[i], geometry.stride[i]
        reach = (geometry.kernel[i] - 1) * geometry.dilation[i] + 1
        count = -(-(geometry.size[i] + pad + geometry.pads[i + 2] - reach) // stride) + 1
        assume(
            (count - 1) * stride < geometry.size[i] + pad
        )  # onnx counts a window that begins in the padding
        out.append(count)
    return tuple(out)


@bounded(60)
@given(
    machine=machines(),
    q=together(2),
    same=st.booleans(),
    data=st.data(),
    rank=st.sampled_from((1, 2, 2)),
    batch=st.integers(1, 2),
    channels=st.integers(1, 30),
    ceil_mode=st.booleans(),
    storage_order=st.integers(0, 1),
    activation=st.sampled_from(("", "", "Relu")),
    seed=seeds(),
)
def test_onnx_max_pool(
    machine: Machine,
    q: tuple,
    same: bool,
    data: st.DataObject,
    rank: int,
    batch: int,
    channels: int,
    ceil_mode: bool,
    storage_order: int,
    activation: str,
    seed: int,
) -> None:
    qx, qy = q if not same else (q[0], q[0])
    geometry: Windows = data.draw(windows(rank=rank, pool=True))
    ceil_mode = ceil_mode and geometry.padding == "pads"
    out = _ceil(geometry) if ceil_mode else geometry.out
    shape = (batch, channels, *geometry.size[2 - rank :])
    fields = {"kernel_shape": geometry.kernel[2 - rank :], "ceil_mode": int(ceil_mode)}
    chain = [("MaxPool", {**geometry.fields(rank), **fields, "storage_order": storage_order})]
    if activation:
        chain.append((activation, {}))
    output = onnx_op.Operand((batch, channels, *out[2 - rank :]), *qy)
    model = onnx_op.build_qdq(chain, [onnx_op.Operand(shape, *qx)], output)

    def rule(x: np.ndarray) -> np.ndarray:
        x = x.reshape(batch, channels, *geometry.size).transpose(0, 2, 3, 1)
        y = _dilated_max(x, geometry, out).transpose(0, 3, 1, 2)
        real = (y.astype(np.int64) - qx.zero_point).astype(f32) * f32(qx.scale)
        real = np.maximum(real, 0) if activation else real
        return saturate(rint(real / f32(qy.scale)) + qy.zero_point, qy.dtype).reshape(output.shape)

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


def _dilated_max(x: np.ndarray, geometry: Windows, out: tuple[int, int]) -> np.ndarray:
    y = np.full((len(x), *out, x.shape[3]), np.iinfo(x.dtype).min, x.dtype)
    for row, column in np.ndindex(*out):
        at = [
            [
                p
                for k in range(geometry.kernel[i])
                if 0
                <= (p := o * geometry.stride[i] + k * geometry.dilation[i] - geometry.pads[i])
                < x.shape[1 + i]
            ]
            for i, o in enumerate((row, column))
        ]
        seen = x[:, at[0]][:, :, at[1]]
        y[:, row, column] = seen.max(axis=(1, 2), initial=np.iinfo(x.dtype).min)
    return y


@bounded(60)
@given(
    machine=machines(),
    q=together(2),
    data=st.data(),
    rank=st.sampled_from((1, 2, 2)),
    batch=st.integers(1, 2),
    channels=st.integers(1, 30),
    count_include_pad=st.booleans(),
    ceil_mode=st.booleans(),
    seed=seeds(),
)
def test_onnx_average_pool(
    machine: Machine,
    q: tuple,
    data: st.DataObject,
    rank: int,
    batch: int,
    channels: int,
    count_include_pad: bool,
    ceil_mode: bool,
    seed: int,
) -> None:
    qx, qy = q
    geometry: Windows = data.draw(windows(rank=rank, dilations=(1,), pool=True))
    ceil_mode = ceil_mode and geometry.padding == "pads"
    out = _ceil(geometry) if ceil_mode else geometry.out
    shape = (batch, channels, *geometry.size[2 - rank :])
    fields = geometry.fields(rank) | {"kernel_shape": geometry.kernel[2 - rank :]}
    del fields["dilations"]
    fields |= {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
    output = onnx_op.Operand((batch, channels, *out[2 - rank :]), *qy)
    model = onnx_op.build_qdq("AveragePool", [onnx_op.Operand(shape, *qx)], output, **fields)

    whole = geometry.kernel == geometry.size and out == (1, 1) and not any(geometry.pads)

    def rule(x: np.ndarray) -> np.ndarray:
        x = x.reshape(batch, channels, *geometry.size).transpose(0, 2, 3, 1)
        if whole:  # then onnxruntime computes as it does GlobalAveragePool
            y = pool.global_average_pool_onnxruntime(x, *qx[1:], *qy[1:])
        else:
            window = (out, geometry.kernel, geometry.stride, geometry.pads[:2])
            y = pool.average_pool_onnxruntime(x, *window, count_include_pad, *qx[1:], *qy[1:])
        return y.transpose(0, 3, 1, 2).reshape(output.shape)

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(20)
@given(machine=machines(), q=together(2), shape=any_shapes(3, 4), seed=seeds())
def test_onnx_global_max_pool(machine: Machine, q: tuple, shape: tuple[int, ...], seed: int) -> None:
    assume(max(shape[2:]) < 1 << 16)  # what the kernel of a command can be; longer ones run on the host
    qx, qy = q
    output = onnx_op.Operand((*shape[:2], *(1 for _ in shape[2:])), *qy)
    model = onnx_op.build_qdq("GlobalMaxPool", [onnx_op.Operand(shape, *qx)], output)

    def rule(x: np.ndarray) -> np.ndarray:
        y = x.max(axis=tuple(range(2, x.ndim)), keepdims=True).astype(np.int64) - qx.zero_point
        return saturate(rint(y.astype(f32) * f32(qx.scale) / f32(qy.scale)) + qy.zero_point, qy.dtype)

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(80)
@given(
    machine=machines(),
    q=quantizations(),
    geometry=windows(paddings=("VALID", "SAME_UPPER"), dilations=(1,)),
    batch=st.integers(1, 2),
    channels=st.integers(1, 30),
    average=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    seed=seeds(),
)
def test_tflite(
    machine: Machine,
    q: Quantization,
    geometry: Windows,
    batch: int,
    channels: int,
    average: bool,
    activation: str,
    seed: int,
) -> None:
    option = tflite_op.options(
        "Pool2DOptions",
        padding=0 if geometry.padding == "SAME_UPPER" else 1,
        strideH=geometry.stride[0],
        strideW=geometry.stride[1],
        filterHeight=geometry.kernel[0],
        filterWidth=geometry.kernel[1],
        fusedActivationFunction=ACTIVATIONS[activation],
    )
    shape = (batch, *geometry.size, channels)
    name = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
    operands = [tflite_op.Operand(shape, *q)], tflite_op.Operand((batch, *geometry.out, channels), *q)
    model = tflite_op.build(name, *operands, option, 2)
    # XNNPACK takes no pool that skips values
    by_builtin = average or any(s > k for s, k in zip(geometry.stride, geometry.kernel))
    bound = rounding.activation_bounds_builtin if by_builtin else rounding.activation_bounds_xnnpack
    bounds = bound(activation, q.scale, q.zero_point, q.dtype)
    assume(bounds[0] <= bounds[1])
    function = pool.average_pool_builtin if average else pool.max_pool

    def rule(x: np.ndarray) -> np.ndarray:
        return function(x, geometry.out, geometry.kernel, geometry.stride, geometry.pads[:2], bounds)

    check(model, [values(q.dtype, shape, seed)], rule, machine=machine)


@bounded(8)
@given(
    machine=machines((None,)), geometry=windows(paddings=("pads",), pool=True), q=together(2), seed=seeds()
)
def test_a_batch(machine: Machine, geometry: Windows, q: tuple, seed: int) -> None:
    qx, qy = q
    operands = [onnx_op.Operand((1, 5, *geometry.size), *qx)], onnx_op.Operand((1, 5, *geometry.out), *qy)
    fields = geometry.fields() | {"kernel_shape": geometry.kernel}
    model = onnx_op.build_qdq("MaxPool", *operands, **fields)
    check(model, [values(qx.dtype, (3, 5, *geometry.size), seed)], machine=machine, batch_size=3)
