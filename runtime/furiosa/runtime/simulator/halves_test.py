"""Commands cut in two: the parts make the bytes of the whole, each its own, for every instruction that is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furiosa.enf.isa import BY_NAME, Rounding
from furiosa.enf.machine import Engine
from furiosa.enf.testing.programs import COMPUTING, command, sram, typical
from furiosa.runtime.simulator.dispatch import KERNELS
from furiosa.runtime.simulator.halves import _CUTS, halves


def check(name: str, views: list[np.ndarray], arguments: dict[str, float]) -> int:
    """Runs a command whole and in parts, which must agree; returns the number of parts."""
    whole = views[-1].copy()
    KERNELS[name]([*views[:-1], whole], arguments)()
    views[-1][...] = 0
    parts = halves(name, views, arguments)
    written = np.zeros(views[-1].shape, np.int64)
    start = views[-1].__array_interface__["data"][0]
    for part, values in parts:
        KERNELS[name](part, values)()
        offset = part[-1].__array_interface__["data"][0] - start
        marked = np.lib.stride_tricks.as_strided(
            written.reshape(-1)[offset // views[-1].itemsize :],
            part[-1].shape,
            [s // views[-1].itemsize * 8 for s in part[-1].strides],
        )
        marked += 1
    np.testing.assert_array_equal(views[-1], whole)
    assert (written == 1).all(), "the parts write every element once"
    return len(parts)


def random_views(rng: np.random.Generator, shapes: list[tuple[str, tuple[int, ...]]]) -> list[np.ndarray]:
    ranges = {"int8": (-128, 128), "uint8": (0, 256), "int32": (-9999, 9999), "int16": (-999, 999)}
    return [
        rng.uniform(0.01, 0.1, shape).astype(dtype)
        if dtype == "float32"
        else rng.integers(*ranges[dtype], shape).astype(dtype)
        for dtype, shape in shapes
    ]


@pytest.mark.parametrize("name", COMPUTING)
def test_typical_commands(name: str) -> None:
    c = typical(name).commands[-1]
    views = random_views(np.random.default_rng(0), [(r.dtype, r.shape) for r in c.operands])
    assert check(name, views, c.arguments) == (2 if name in _CUTS else 1)


def test_only_instructions_are_cut() -> None:
    assert set(_CUTS) <= set(BY_NAME)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_windows(data: st.DataObject) -> None:
    """Any window that the instruction table allows, cut along rows or channels."""

    def number(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    name = data.draw(st.sampled_from(("CONV2D", "DEPTHWISE_CONV2D", "MAX_POOL2D", "AVERAGE_POOL2D")))
    n, h, w, c = number(1, 2), number(1, 9), number(1, 9), number(1, 6)
    kh, kw, oh, ow = number(1, 4), number(1, 4), number(1, 7), number(1, 4)
    params = {
        "stride_h": number(1, 3),
        "stride_w": number(1, 3),
        "pad_top": number(0, 4),
        "pad_left": number(0, 4),
    }
    shapes, channels = [("int8", (n, h, w, c))], c
    if name == "CONV2D":
        params["groups"] = data.draw(st.sampled_from([g for g in range(1, c + 1) if c % g == 0]))
        channels = params["groups"] * number(1, 9)
        shapes.append(("int8", (channels, kh, kw, c // params["groups"])))
    elif name == "DEPTHWISE_CONV2D":
        channels = c * number(1, 2)
        shapes.append(("int8", (kh, kw, channels)))
    if name in ("CONV2D", "DEPTHWISE_CONV2D"):
        params |= {
            "dilation_h": number(1, 3),
            "dilation_w": number(1, 2),
            "input_zero_point": number(-128, 127),
        }
        shapes += [("int32", (channels,)), ("float32", (channels,))]
    else:
        params |= {"kernel_h": kh, "kernel_w": kw}
    if name == "AVERAGE_POOL2D":
        params |= {"rounding": Rounding.TFLITE, "count_padding": number(0, 1)}
    shapes.append(("int8", (n, oh, ow, channels)))
    one = command(name, Engine.PE, *(sram(0, *shape, dtype=dtype) for dtype, shape in shapes), **params)
    if one.instruction.check(*one.operands, **one.arguments) is None:
        check(name, random_views(np.random.default_rng(number(0, 99)), shapes), one.arguments)
