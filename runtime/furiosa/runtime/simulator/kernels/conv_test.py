"""CONV2D and DEPTHWISE_CONV2D against sums written out in int64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.runtime.simulator.kernels import conv, depthwise
from furiosa.runtime.simulator.kernels.conv import conv2d
from furiosa.runtime.simulator.kernels.depthwise import depthwise_conv2d


def expected(x, w, bias, scale, out, *, groups, p) -> np.ndarray:
    """What the docstring of conv2d says, one kernel tap at a time, w [OC,KH,KW,C/groups]."""
    _, kh, kw, depth = w.shape
    n, oh, ow, channels = out.shape
    rows = (oh - 1) * p["stride_h"] + (kh - 1) * p["dilation_h"] + 1
    columns = (ow - 1) * p["stride_w"] + (kw - 1) * p["dilation_w"] + 1
    centred = np.zeros((n, rows + x.shape[1], columns + x.shape[2], x.shape[3]), np.int64)
    centred[:, p["pad_top"] :, p["pad_left"] :][:, : x.shape[1], : x.shape[2]] = (
        x.astype(np.int64) - p["input_zero_point"]
    )
    acc = np.zeros(out.shape, np.int64) + bias
    for c in range(channels):
        first = c // (channels // groups) * depth
        for i in range(kh):
            for j in range(kw):
                row, column = i * p["dilation_h"], j * p["dilation_w"]
                seen = centred[:, row :: p["stride_h"], column :: p["stride_w"], first : first + depth][
                    :, :oh, :ow
                ]
                acc[..., c] += seen @ (w[c, i, j].astype(np.int64) - p["weight_zero_point"])
    y = np.rint(acc.astype(np.float32) * scale).astype(np.int64) + p["output_zero_point"]
    return np.clip(y, p["clamp_min"], p["clamp_max"])


@st.composite
def cases(draw, depthwise: bool):
    """(x, w, bias, scale, out, groups, parameters); strided views, padding beyond every edge, any zero points."""

    def size(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    rng = np.random.default_rng(size(0, 2**32 - 1))
    int8 = st.integers(-128, 127)
    n, h, w, kh, kw = size(1, 2), size(1, 12), size(1, 12), size(1, 4), size(1, 4)
    p = {name: size(1, 3) for name in ("stride_h", "stride_w", "dilation_h", "dilation_w")}
    p |= {"pad_top": size(0, (kh - 1) * p["dilation_h"]), "pad_left": size(0, (kw - 1) * p["dilation_w"])}
    bottom, right = size(0, (kh - 1) * p["dilation_h"]), size(0, (kw - 1) * p["dilation_w"])
    oh = max(1, (h + p["pad_top"] + bottom - (kh - 1) * p["dilation_h"] - 1) // p["stride_h"] + 1)
    ow = max(1, (w + p["pad_left"] + right - (kw - 1) * p["dilation_w"] - 1) // p["stride_w"] + 1)
    groups = size(1, 3)
    channels, per_group = groups * size(1, 20), size(1, 3 if depthwise else 20)
    p |= {"input_zero_point": draw(int8), "output_zero_point": draw(int8)}
    p["weight_zero_point"] = draw(st.one_of(st.just(0), int8))
    p["clamp_min"], p["clamp_max"] = sorted((draw(int8), draw(int8)))
    x = rng.integers(-128, 128, (n, 2 * h, w, channels + 3)).astype(np.int8)[:, ::2, :, 2:-1]
    if depthwise:
        groups, depth, out_channels = channels, 1, channels * per_group
    else:
        depth, out_channels = channels // groups, groups * per_group
    weight = rng.integers(-128, 128, (out_channels, kh, kw, depth)).astype(np.int8)
    if draw(st.booleans()):  # the largest sums that there are
        x[...] = draw(st.sampled_from((-128, 127)))
        weight[...] = -128
    bias = rng.integers(-(2 ** size(0, 30)), 2 ** size(0, 30), out_channels).astype(np.int32)
    scale = np.exp(rng.uniform(-14, -4, out_channels)).astype(np.float32)
    out = np.full((n, oh, ow, out_channels + 2), 77, np.int8)
    return x, weight, bias, scale, out, groups, p


@settings(max_examples=150, derandomize=True, deadline=None)
@given(cases(depthwise=False))
def test_conv2d_is_exact(case) -> None:
    x, w, bias, scale, out, groups, p = case
    view = out[..., 1:-1]
    conv2d(x, w, bias, scale, view, groups=groups, **p)
    np.testing.assert_array_equal(view, expected(x, w, bias, scale, view, groups=groups, p=p))
    assert (out[..., [0, -1]] == 77).all(), "wrote beside its output"


@settings(max_examples=150, derandomize=True, deadline=None)
@given(cases(depthwise=True))
def test_depthwise_conv2d_is_exact(case) -> None:
    x, w, bias, scale, out, groups, p = case
    view = out[..., 1:-1]
    depthwise_conv2d(x, w[..., 0].transpose(1, 2, 0), bias, scale, view, **p)
    np.testing.assert_array_equal(view, expected(x, w, bias, scale, view, groups=groups, p=p))
    assert (out[..., [0, -1]] == 77).all(), "wrote beside its output"


PLAIN = {
    "stride_h": 1,
    "stride_w": 1,
    "pad_top": 0,
    "pad_left": 0,
    "dilation_h": 1,
    "dilation_w": 1,
    "input_zero_point": 0,
    "output_zero_point": 0,
    "clamp_min": -128,
    "clamp_max": 127,
    "weight_zero_point": 0,
}


def cancelled(depth: int, odd: int, weight_zero_point: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, w, bias) whose products add up far beyond 2**24, all but the odd one even, and a bias that leaves 1, 2, 3."""
    x, w = np.full(depth, -128, np.int8), np.full((3, depth), 127 if weight_zero_point else -127, np.int8)
    x[odd] = 127
    total = (x.astype(np.int64) * (w.astype(np.int64) - weight_zero_point)).sum(axis=1)
    return x, w, (np.array([1, 2, 3]) - total).astype(np.int32)


@pytest.mark.parametrize("depth", [515, 1000, 1033, 1040, 2051, 3000, 9000])
@pytest.mark.parametrize("weight_zero_point", [0, -128])
def test_sums_beyond_float32(depth: int, weight_zero_point: int) -> None:
    """A float32 sum of these products would lose its last bits."""
    p = PLAIN | {"weight_zero_point": weight_zero_point}
    for odd in (0, depth // 2, depth - 1):
        x, w, bias = cancelled(depth, odd, weight_zero_point)
        out = np.empty((1, 1, 1, 3), np.int8)
        conv2d(x[None, None, None], w[:, None, None], bias, np.ones(3, np.float32), out, groups=1, **p)
        assert out.reshape(-1).tolist() == [1, 2, 3]


def test_depthwise_sums_beyond_float32() -> None:
    x, w, bias = cancelled(25 * 25, 300, -128)
    p = PLAIN | {"weight_zero_point": -128}
    image = np.repeat(x.reshape(1, 25, 25, 1), 3, axis=3)
    out = np.empty((1, 1, 1, 3), np.int8)
    depthwise_conv2d(image, w.T.reshape(25, 25, 3), bias, np.ones(3, np.float32), out, **p)
    assert out.reshape(-1).tolist() == [1, 2, 3]


def test_ties_go_to_the_even_number_before_the_zero_point_is_added() -> None:
    x = np.arange(-5, 6).astype(np.int8).reshape(1, 1, 11, 1)
    out = np.empty((1, 1, 11, 1), np.int8)
    one, bias, half = np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), np.full(1, 0.5, np.float32)
    for zero_point in (0, 7):
        conv2d(x, one, bias, half, out, groups=1, **(PLAIN | {"output_zero_point": zero_point}))
        rounded = [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]
        assert out.reshape(-1).tolist() == [v + zero_point for v in rounded]


def test_parts_of_the_sum_are_exact() -> None:
    """The float32 sums themselves, where weights are so many that they are split."""
    rng = np.random.default_rng(0)
    w = rng.integers(-128, 128, (5, 1, 1, 6000)).astype(np.int8)
    w[4] = -128
    bias = rng.integers(-(2**25), 2**25, 5).astype(np.int32)
    product = conv._Product(w, bias, -128, 0)
    assert len(product._parts) > 1
    x = rng.integers(-128, 128, (7, 6000))
    x[6] = -128
    sums = np.empty((7, 5), np.float32)
    product.times(np.hstack([x, np.ones((7, 1))]).astype(np.float32), sums)
    exact = (x + 128) @ w[:, 0, 0].astype(np.int64).T + bias
    np.testing.assert_array_equal(sums, exact.astype(np.float32))


@pytest.mark.parametrize("block", [1, 64, 1 << 20])
def test_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row, a few rows or all rows at a time, and one output channel at a time, give the same bytes."""
    rng = np.random.default_rng(1)
    x, p = rng.integers(-128, 128, (2, 9, 8, 6)).astype(np.int8), PLAIN | {"pad_top": 1, "pad_left": 1}
    w, dw = (
        rng.integers(-128, 128, (4, 3, 3, 6)).astype(np.int8),
        rng.integers(-128, 128, (3, 3, 6)).astype(np.int8),
    )
    bias, scale = np.arange(6, dtype=np.int32), np.full(6, 1e-3, np.float32)

    def both() -> tuple[np.ndarray, np.ndarray]:
        y, dy = np.empty((2, 9, 8, 4), np.int8), np.empty((2, 9, 8, 6), np.int8)
        conv2d(x, w, bias[:4], scale[:4], y, groups=1, **p)
        depthwise_conv2d(x, dw, bias, scale, dy, **p)
        return y, dy

    before = both()
    monkeypatch.setattr(conv, "BLOCK", block)
    monkeypatch.setattr(conv, "WEIGHTS", block)
    monkeypatch.setattr(depthwise, "BLOCK", block)
    for a, b in zip(before, both()):
        np.testing.assert_array_equal(a, b)
