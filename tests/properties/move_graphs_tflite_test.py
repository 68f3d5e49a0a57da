"""Graphs of several TFLite moves around convolutions, against LiteRT."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from furiosa.compiler.frontend.tflite.testing import ModelBuilder, options
from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import DTYPES, machines, seeds, values

LIMIT = 30_000  # elements of a tensor
Shape = list[int]


class _Graph:
    """Tensors of four dimensions and one scale; each is known by its index in the file."""

    def __init__(self, dtype: str, shape: Shape, seed: int):
        self.b = ModelBuilder()
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)
        self.shapes: dict[int, Shape] = {}
        self.read: set[int] = set()
        self.x = self.tensor(shape)

    def tensor(self, shape: Shape) -> int:
        name = f"t{len(self.b.graph.tensors)}"
        t = self.b.tensor(name, shape, self.dtype, scale=0.05, zero_point=3)
        self.shapes[t] = shape
        return t

    def constant(self, data: object, dtype: str = "int32", **quantization: object) -> int:
        name = f"c{len(self.b.graph.tensors)}"
        return self.b.tensor(name, list(np.shape(data)), dtype, data, **quantization)

    def add(self, kind: str, inputs: list[int], shapes: list[Shape], **fields: object) -> list[int]:
        """``fields`` are those of the operator's options, whose name is ``table``."""
        table = fields.pop("table")
        outputs = [self.tensor(shape) for shape in shapes]
        self.b.operator(kind, inputs, outputs, options(table, **fields))
        self.read.update(inputs)
        return outputs


Step = Callable[[_Graph, st.DataObject, int, Shape], list[int]]


def _conv(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    low, zero = (-100, 0) if g.dtype == "int8" else (0, 50)
    weight = g.rng.integers(low, 100, (4, 1, 1, s[3])).astype(g.dtype)
    w = g.constant(weight, g.dtype, scale=0.003, zero_point=zero)
    bias = g.constant(np.zeros(4, np.int32), scale=0.05 * 0.003)
    ones = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return g.add("CONV_2D", [t, w, bias], [[*s[:3], 4]], table="Conv2DOptions", **ones)


def _slice(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    axis = data.draw(st.sampled_from((1, 3)))
    begin = [0] * 4
    begin[axis] = data.draw(st.integers(0, s[axis] - 1))
    size = [d - b for d, b in zip(s, begin)]
    return g.add("SLICE", [t, g.constant(begin), g.constant(size)], [size], table="SliceOptions")


def _strided_slice(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    axis = data.draw(st.sampled_from((1, 3)))
    begin, strides, out = [0] * 4, [1] * 4, list(s)
    begin[axis] = data.draw(st.integers(0, s[axis] - 1))
    strides[axis] = data.draw(st.sampled_from((1, 2, -1)))
    out[axis] = len(range(s[axis])[begin[axis] :: strides[axis]])
    bounds = [g.constant(v) for v in (begin, s, strides)]
    return g.add("STRIDED_SLICE", [t, *bounds], [out], table="StridedSliceOptions", endMask=15)


def _split(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    axis = data.draw(st.integers(0, 3))
    count = data.draw(st.sampled_from([n for n in (1, 2, 3) if s[axis] % n == 0]))
    part = [d // count if i == axis else d for i, d in enumerate(s)]
    return g.add("SPLIT", [g.constant(axis), t], [part] * count, table="SplitOptions", numSplits=count)


def _unpack_and_pack(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    axis, n = next(((i, d) for i, d in enumerate(s) if d <= 4), (None, None))
    if axis is None:
        return [t]
    part = s[:axis] + s[axis + 1 :]
    parts = g.add("UNPACK", [t], [part] * n, table="UnpackOptions", num=n, axis=axis)
    at = data.draw(st.sampled_from((1, 3)))
    out = [*part[:at], n, *part[at:]]
    return g.add("PACK", parts, [out], table="PackOptions", valuesCount=n, axis=at)


def _concatenation(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    """With another tensor that fits, or itself."""
    axis = data.draw(st.sampled_from((1, 3)))
    rest = [i for i in range(4) if i != axis]
    fits = [o for o, m in g.shapes.items() if len(m) == 4 and all(m[i] == s[i] for i in rest)]
    other = data.draw(st.sampled_from(fits))
    out = [d + g.shapes[other][axis] if i == axis else d for i, d in enumerate(s)]
    return g.add("CONCATENATION", [t, other], [out], table="ConcatenationOptions", axis=axis)


def _pad(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    kind, table, most = data.draw(
        st.sampled_from(
            (("PAD", "PadOptions", 3), ("PADV2", "PadV2Options", 3), ("MIRROR_PAD", "MirrorPadOptions", 0))
        )
    )
    ends = [st.integers(0, most or min(2, d - 1)) for d in s]
    pads = [[0, 0], *([data.draw(e), data.draw(e)] for e in ends[1:])]
    out = [d + before + after for d, (before, after) in zip(s, pads)]
    inputs = [t, g.constant(pads)]
    if kind == "PADV2":
        inputs.append(g.constant([7], g.dtype, scale=0.05, zero_point=3))
    return g.add(kind, inputs, [out], table=table)


def _transpose(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    perm = data.draw(st.permutations(range(4)))
    out = [s[p] for p in perm]
    return g.add("TRANSPOSE", [t, g.constant(perm)], [out], table="TransposeOptions")


def _reshape(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    out = data.draw(st.sampled_from(([s[0], s[3], s[1], s[2]], [s[0], 1, s[1], s[2] * s[3]])))
    return g.add("RESHAPE", [t, g.constant(out)], [out], table="ReshapeOptions", newShape=out)


def _depth(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    n, h, w, c = s
    if c % 4 == 0:
        return g.add(
            "DEPTH_TO_SPACE", [t], [[n, h * 2, w * 2, c // 4]], table="DepthToSpaceOptions", blockSize=2
        )
    if h % 2 == 0 and w % 2 == 0:
        return g.add(
            "SPACE_TO_DEPTH", [t], [[n, h // 2, w // 2, c * 4]], table="SpaceToDepthOptions", blockSize=2
        )
    return [t]


def _dilated(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    """A dilated convolution as old converters write it: blocks to the batch, and back."""
    n, h, w, _ = s
    pads = [[1, 1 + h % 2], [0, w % 2]]
    tall, wide = (h + sum(pads[0])) // 2, (w + sum(pads[1])) // 2
    blocks = g.constant([2, 2])
    inputs = [t, blocks, g.constant(pads)]
    (t,) = g.add("SPACE_TO_BATCH_ND", inputs, [[4 * n, tall, wide, s[3]]], table="SpaceToBatchNDOptions")
    (t,) = _conv(g, data, t, g.shapes[t])
    out = [n, 2 * tall - sum(pads[0]), 2 * wide - sum(pads[1]), 4]
    return g.add("BATCH_TO_SPACE_ND", [t, blocks, inputs[2]], [out], table="BatchToSpaceNDOptions")


def _tile(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    times = [1, *(data.draw(st.integers(1, 2)) for _ in range(3))]
    return g.add("TILE", [t, g.constant(times)], [[d * n for d, n in zip(s, times)]], table="TileOptions")


def _reverse(g: _Graph, data: st.DataObject, t: int, s: Shape) -> list[int]:
    axis = data.draw(st.sampled_from([i for i, d in enumerate(s) if d <= 64] or [0]))
    return (
        [t] if s[axis] > 64 else g.add("REVERSE_V2", [t, g.constant([axis])], [s], table="ReverseV2Options")
    )


STEPS: list[Step] = [
    *(_conv, _slice, _strided_slice, _split, _unpack_and_pack, _concatenation, _pad, _transpose),
    *(_reshape, _depth, _dilated, _tile, _reverse),
]


@bounded(60)
@given(
    data=st.data(),
    machine=machines(),
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(*(st.integers(1, most) for most in (2, 16, 16, 8))),
    seed=seeds(),
)
def test_any_graph(
    data: st.DataObject, machine: Machine, dtype: str, shape: tuple[int, ...], seed: int
) -> None:
    g = _Graph(dtype, list(shape), seed)
    made = [g.x]
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=9)):
        t = data.draw(st.sampled_from(made[-3:]))
        if math.prod(g.shapes[t]) > LIMIT:
            break
        made += step(g, data, t, g.shapes[t])
    outputs = [t for t in dict.fromkeys(made) if t not in g.read and t != g.x]
    if outputs:
        check(g.b.build([g.x], outputs), [values(dtype, shape, seed)], machine=machine)
