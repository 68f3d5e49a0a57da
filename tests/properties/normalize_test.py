"""Softmax and division by the norm, in both formats; a batch of at most 2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from furiosa.compiler.pipeline import Compilation, Options
from tests.properties.harness import Machine, bounded, check, run
from tests.properties.strategies import any_shapes, machines, quantizations, seeds, values
from tests.reference import onnx_op, tflite_op
from tests.reference.reduce import l2_normalization_builtin, lp_normalization_onnx
from tests.reference.softmax import softmax_builtin, softmax_onnxruntime


def small_batches() -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of 1 to 6 dimensions, the first at most 2 where there are more."""
    return any_shapes(1, 6).map(lambda s: (min(s[0], 2), *s[1:]) if len(s) > 1 else s)


@bounded(60)
@given(
    machine=machines(),
    opset=st.sampled_from((11, 13, 17)),
    qx=quantizations(low=2.0**-7),
    scale=st.sampled_from((1 / 256, 1 / 255, 0.01)),
    shape=small_batches(),
    place=st.integers(-4, 3),
    seed=seeds(),
)
def test_onnx_softmax(machine: Machine, opset: int, qx, scale: float, shape, place: int, seed: int) -> None:
    axis = place % len(shape)
    zero_point = int(np.iinfo(qx.dtype).min)
    output = onnx_op.Operand((), qx.dtype, scale, zero_point)
    stated = axis - len(shape) if place < 0 else axis
    model = onnx_op.build_qdq("Softmax", [onnx_op.Operand(shape, *qx)], output, opset, axis=stated)

    def rule(x: np.ndarray) -> np.ndarray:
        if opset < 13:
            flat = x.reshape(int(np.prod(shape[:axis])), -1)
            return softmax_onnxruntime(flat, qx.scale, scale, zero_point).reshape(shape)
        last = np.moveaxis(x, axis, -1)
        return np.moveaxis(softmax_onnxruntime(last, qx.scale, scale, zero_point), -1, axis)

    check(model, [values(qx.dtype, shape, seed)], rule, machine=machine)


@bounded(40)
@given(
    machine=machines(),
    qx=quantizations(low=2.0**-7),
    shape=small_batches(),
    beta=st.sampled_from((0.5, 1.0, 2.0)),
    seed=seeds(),
)
def test_tflite_softmax(machine: Machine, qx, shape, beta: float, seed: int) -> None:
    output = tflite_op.Operand(shape, qx.dtype, 1 / 256, int(np.iinfo(qx.dtype).min))
    option = tflite_op.options("SoftmaxOptions", beta=beta)
    model = tflite_op.build("SOFTMAX", [tflite_op.Operand(shape, *qx)], output, option, version=2)
    check(
        model, [values(qx.dtype, shape, seed)], lambda x: softmax_builtin(x, qx.scale, beta), machine=machine
    )


@bounded(60)
@given(
    machine=machines(),
    qx=quantizations(),
    qy=quantizations(low=2.0**-10, high=2.0**-6),
    shape=small_batches(),
    place=st.integers(-4, 3),
    seed=seeds(),
)
def test_onnx_lp_normalization(machine: Machine, qx, qy, shape, place: int, seed: int) -> None:
    """The rule bit for bit; onnxruntime, which sums in float32, within one."""
    axis = place % len(shape)
    model = onnx_op.build_qdq(
        "LpNormalization", [onnx_op.Operand(shape, *qx)], onnx_op.Operand((), *qy), axis=axis, p=2
    )
    x = values(qx.dtype, shape, seed)
    if seed % 3 == 0:
        x[...] = qx.zero_point  # no norm to divide by
    result = check(
        model,
        [x],
        lambda x: lp_normalization_onnx(x, axis, qx.zero_point, *qy[1:], qy.dtype),
        machine=machine,
        reference=False,
    )
    assert np.abs(result.outputs[0].astype(int) - run(model, [x])[0]).max() <= 1


@bounded(50)
@given(
    machine=machines(),
    qx=quantizations(),
    shape=small_batches().filter(lambda s: s[-1] * 255**2 < 2**31),
    spread=st.sampled_from((0, 1, 3, 255)),
    seed=seeds(),
)
def test_tflite_l2_normalization(machine: Machine, qx, shape, spread: int, seed: int) -> None:
    info = np.iinfo(qx.dtype)
    output = tflite_op.Operand(shape, qx.dtype, 1 / 128, (info.min + info.max + 1) // 2)
    option = tflite_op.options("L2NormOptions")
    model = tflite_op.build("L2_NORMALIZATION", [tflite_op.Operand(shape, *qx)], output, option, version=2)
    x = values(qx.dtype, shape, seed)
    if spread < 255:  # small norms, where the fixed point is coarse
        near = qx.zero_point + np.random.default_rng(seed).integers(-spread, spread + 1, shape)
        x = near.clip(info.min, info.max).astype(qx.dtype)
    check(model, [x], lambda x: l2_normalization_builtin(x, qx.zero_point), machine=machine)


@pytest.mark.parametrize(
    ("kind", "attributes", "batch", "rule"),
    [
        ("Softmax", {"axis": 1}, 3, "softmax-batch"),
        ("LpNormalization", {"axis": 1}, 3, "normalization-batch"),
        ("LpNormalization", {"axis": 1, "p": 1}, 1, "euclidean-norm"),
    ],
)
def test_what_runs_on_the_host(kind: str, attributes: dict, batch: int, rule: str) -> None:
    operands = onnx_op.Operand((batch, 8), "int8", 0.1, 0), onnx_op.Operand((), "int8", 1 / 128, 0)
    model = onnx_op.build_qdq(kind, [operands[0]], operands[1], **attributes)
    compiled = Compilation(model, Options("warboy", 1)).run()
    reasons = {r.rule for v in compiled.ldfg.verdicts.values() for r in v.reasons}
    assert reasons == {rule}
