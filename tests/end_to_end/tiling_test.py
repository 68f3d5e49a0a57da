"""Tiles: the same numbers whatever the size of SRAM, over PEs, bands, channels and spilled tensors."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler import pipeline
from furiosa.compiler.errors import OutOfSram
from furiosa.enf import reader
from furiosa.enf.target import load_target
from furiosa.runtime import session
from tests.reference.onnx_op import Operand, build_qdq, run

SRAM = (None, 64 << 10, 12 << 10)  # bytes in all; None: the target's own
rng = np.random.default_rng(7)


def _weights(*shape: int) -> Operand:
    data = rng.integers(-127, 128, shape).astype(np.int8)
    scale = rng.uniform(0.002, 0.02, shape[0]).astype(np.float32)
    return Operand(shape, "int8", scale, np.zeros(shape[0], np.int8), data, axis=0)


def _bias(weights: Operand, x_scale: float) -> Operand:
    scale = (np.float32(x_scale) * weights.scale).astype(np.float32)
    data = rng.integers(-3000, 3000, weights.shape[0]).astype(np.int32)
    return Operand((weights.shape[0],), "int32", scale, np.zeros(weights.shape[0], np.int32), data, axis=0)


def _x(*shape: int, scale: float = 0.05, zero_point: int = -3) -> Operand:
    return Operand(shape, "int8", scale, zero_point)


def _y(*shape: int, scale: float = 0.3, zero_point: int = 5) -> Operand:
    return Operand(shape, "int8", scale, zero_point)


def _conv(
    n: int, c: int, size: int, out: int, kernel: int, **attributes: object
) -> tuple[bytes, list[Operand]]:
    groups = attributes.get("group", 1)
    w = _weights(out, c // groups, kernel, kernel)
    x = _x(n, c, size, size + 3)
    return build_qdq("Conv", [x, w, _bias(w, x.scale)], _y(), **attributes), [x]


CASES = {
    "conv 3x3": lambda: _conv(1, 16, 40, 24, 3, pads=[1, 1, 1, 1]),
    "conv 5x5, stride 2, uneven padding": lambda: _conv(1, 8, 41, 20, 5, pads=[2, 1, 0, 3], strides=[2, 2]),
    "conv 3x3, dilation 3": lambda: _conv(1, 8, 40, 12, 3, pads=[3, 3, 3, 3], dilations=[3, 3]),
    "conv 1x1, many channels": lambda: _conv(1, 256, 6, 300, 1),
    "conv, groups": lambda: _conv(1, 24, 30, 36, 3, pads=[1, 1, 1, 1], group=3),
    "depthwise": lambda: _conv(1, 32, 40, 32, 3, pads=[1, 1, 1, 1], group=32),
    "conv, batch 3": lambda: _conv(3, 16, 24, 16, 3, pads=[1, 1, 1, 1]),
    "max pool": lambda: (
        build_qdq(
            "MaxPool", [_x(1, 24, 50, 50)], _x(), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        [_x(1, 24, 50, 50)],
    ),
    "global average pool": lambda: (
        build_qdq("GlobalAveragePool", [_x(2, 64, 30, 30)], _y(scale=0.02)),
        [_x(2, 64, 30, 30)],
    ),
    "add": lambda: (
        build_qdq("Add", [_x(1, 32, 40, 40), _x(1, 32, 40, 40, scale=0.08)], _y(scale=0.1)),
        [_x(1, 32, 40, 40), _x(1, 32, 40, 40)],
    ),
    "mul": lambda: (
        build_qdq("Mul", [_x(1, 32, 40, 40), _x(1, 32, 40, 40, scale=0.08)], _y(scale=0.1)),
        [_x(1, 32, 40, 40), _x(1, 32, 40, 40)],
    ),
    "sigmoid": lambda: (
        build_qdq("Sigmoid", [_x(1, 32, 40, 40)], _y(scale=1 / 256, zero_point=-128)),
        [_x(1, 32, 40, 40)],
    ),
    "softmax": lambda: (
        build_qdq("Softmax", [_x(2, 700, 91)], _y(scale=1 / 256, zero_point=-128), axis=-1),
        [_x(2, 700, 91)],
    ),
    "transpose": lambda: (build_qdq("Transpose", [_x(7, 60, 80)], _x(), perm=[2, 0, 1]), [_x(7, 60, 80)]),
    "concat": lambda: (
        build_qdq("Concat", [_x(1, 20, 40, 40), _x(1, 12, 40, 40)], _x(), axis=1),
        [_x(1, 20, 40, 40), _x(1, 12, 40, 40)],
    ),
    "concat along rows": lambda: (
        build_qdq("Concat", [_x(1, 16, 40, 33), _x(1, 16, 21, 33)], _x(), axis=2),
        [_x(1, 16, 40, 33), _x(1, 16, 21, 33)],
    ),
}


def _shrink(monkeypatch: pytest.MonkeyPatch, sram: int) -> None:
    def smaller(name: str) -> object:
        target = load_target(name)
        return target._replace(sram_bytes_per_slice=sram // target.slices)

    monkeypatch.setattr(pipeline, "load_target", smaller)


@pytest.mark.parametrize("target", ["warboy", "warboy-2pe"])
@pytest.mark.parametrize("sram", SRAM)
@pytest.mark.parametrize("case", CASES)
def test_same_numbers_at_any_size_of_sram(
    case: str, sram: int | None, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, operands = CASES[case]()
    if sram is not None:
        _shrink(monkeypatch, sram)
    enf = pipeline.compile_model(model, target_npu=target)
    metadata = reader.load(enf).metadata
    assert metadata.host_operators == 0
    assert sram is None or metadata.sram_peak_bytes <= sram
    inputs = [rng.integers(-128, 128, o.shape).astype(np.int8) for o in operands]
    with session.create(enf, device={"warboy": "npu0pe0", "warboy-2pe": "npu0pe0-1"}[target]) as sess:
        np.testing.assert_array_equal(sess.run(inputs)[0].numpy(), run(model, *inputs))


def test_what_cannot_be_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _shrink(monkeypatch, 1 << 10)
    model, _ = CASES["conv 5x5, stride 2, uneven padding"]()
    with pytest.raises(OutOfSram, match="does not fit the 1024 bytes of SRAM"):
        pipeline.compile_model(model)
