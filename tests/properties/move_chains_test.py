"""Graphs of several moves around convolutions, in both layouts at once, against onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.properties.harness import Machine, bounded, check
from tests.properties.strategies import machines, seeds, values

LIMIT = 30_000  # elements of a tensor


class _Graph:
    """QOperator form: int8 tensors with scale 0.05; a tensor is known by its name and shape."""

    def __init__(self, shape: tuple[int, ...], seed: int):
        self.rng = np.random.default_rng(seed)
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {"s": np.float32(0.05), "z": np.int8(-3), "o": np.int8(0)}
        self.constants |= {"s2": np.float32(0.06), "z2": np.int8(11)}
        self.shapes: dict[str, tuple[int, ...]] = {"x": shape}

    def add(
        self, kind: str, inputs: list[str], shapes: list[tuple[int, ...]], **attributes: object
    ) -> list[str]:
        outputs = [f"t{len(self.shapes) + i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        self.shapes |= dict(zip(outputs, shapes))
        return outputs

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def model(self, outputs: list[str]) -> bytes:
        real = any(node.op_type == "DequantizeLinear" for node in self.nodes)
        element = TensorProto.FLOAT if real else TensorProto.INT8
        values = [helper.make_tensor_value_info(o, element, self.shapes[o]) for o in outputs]
        x = helper.make_tensor_value_info("x", TensorProto.INT8, self.shapes["x"])
        stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "moves", [x], values, stored)
        opsets = [helper.make_opsetid("", 18)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


Step = Callable[[_Graph, st.DataObject, str], list[str]]


def _conv(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    weight = g.constant(g.rng.integers(-127, 128, (4, c, 1, 1)).astype(np.int8))
    scale = g.constant(np.float32(0.02 / math.sqrt(c)))
    return g.add("QLinearConv", [t, "s", "z", weight, scale, "o", "s", "z"], [(n, 4, h, w)])


def _pool(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    return g.add("MaxPool", [t], [(n, c, h - h // 2, w)], kernel_shape=[h // 2 + 1, 1])


def _transpose(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    perm = data.draw(st.sampled_from(((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (0, 2, 1, 3))))
    return g.add("Transpose", [t], [tuple(g.shapes[t][p] for p in perm)], perm=perm)


def _reshape(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    shape = data.draw(st.sampled_from(((n, h, c, w), (n, c * h, 1, w), (n, w, c, h), (n, 1, c, h * w))))
    return g.add("Reshape", [t, g.ints(*shape)], [shape])


def _shuffle(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    groups = data.draw(st.sampled_from([d for d in (1, 2, 3, 4) if c % d == 0]))
    apart = (n, groups, c // groups, h, w)
    (t,) = g.add("Reshape", [t, g.ints(*apart)], [apart])
    swapped = (n, c // groups, groups, h, w)
    (t,) = g.add("Transpose", [t], [swapped], perm=[0, 2, 1, 3, 4])
    return g.add("Reshape", [t, g.ints(n, c, h, w)], [(n, c, h, w)])


def _slice(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    shape = list(g.shapes[t])
    axis = data.draw(st.sampled_from((1, 2)))
    start, step = data.draw(st.integers(0, shape[axis] - 1)), data.draw(st.sampled_from((1, 2)))
    constants = [g.ints(v) for v in (start, shape[axis], axis, step)]
    shape[axis] = len(range(start, shape[axis], step))
    return g.add("Slice", [t, *constants], [tuple(shape)])


def _split(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    shape = g.shapes[t]
    axis = data.draw(st.integers(1, 3))
    if shape[axis] == 1:
        return [t]
    first = data.draw(st.integers(1, shape[axis] - 1))
    sizes = (first, shape[axis] - first)
    shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    return g.add("Split", [t, g.ints(*sizes)], shapes, axis=axis)


def _concat(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    """With another tensor that fits, or itself."""
    axis = data.draw(st.sampled_from((1, 2)))
    n = g.shapes[t]
    fits = [
        o for o, m in g.shapes.items() if len(m) == 4 and all(m[i] == n[i] for i in range(4) if i != axis)
    ]
    other = data.draw(st.sampled_from(fits))
    shape = (*n[:axis], n[axis] + g.shapes[other][axis], *n[axis + 1 :])
    return g.add("Concat", [t, other], [shape], axis=axis)


def _pad(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    """Without the input ``axes``, for which onnxruntime's optimiser has no eye when it moves a Transpose past a Pad."""
    axis, mode = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(("constant", "reflect", "edge")))
    shape = list(g.shapes[t])
    if mode == "reflect" and shape[axis] < 3:
        mode = "edge"
    pads = [int(i == axis) for i in range(4)] + [2 * (i == axis) for i in range(4)]
    constants = [g.ints(*pads), g.constant(np.int8(9))]
    shape[axis] += 3
    return g.add("Pad", [t, *constants], [tuple(shape)], mode=mode)


def _depth_to_space(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    if c % 4:
        return [t]
    mode = data.draw(st.sampled_from(("DCR", "CRD")))
    return g.add("DepthToSpace", [t], [(n, c // 4, h * 2, w * 2)], blocksize=2, mode=mode)


STEPS: list[Step] = [
    *(_conv, _pool, _transpose, _reshape, _shuffle, _slice, _split, _concat, _pad, _depth_to_space),
]


@bounded(60)
@given(
    data=st.data(),
    machine=machines(),
    shape=st.tuples(*(st.integers(low, high) for low, high in ((1, 2), (1, 8), (1, 24), (1, 24)))),
    seed=seeds(),
)
def test_any_graph(data: st.DataObject, machine: Machine, shape: tuple[int, ...], seed: int) -> None:
    g = _Graph(shape, seed)
    (at,) = _conv(g, data, "x")  # states the scale that all have
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=9)):
        made = step(g, data, at)
        at = data.draw(st.sampled_from(made))
        if math.prod(g.shapes[at]) > LIMIT:
            break
    read = {name for node in g.nodes for name in node.input}
    outputs = [t for t in g.shapes if t not in read]
    more = [t for t in g.shapes if t != "x" and t in read]
    if more and data.draw(st.booleans()):
        outputs.append(data.draw(st.sampled_from(more)))
    check(g.model(outputs), [values("int8", shape, seed)], machine=machine)


def _real(kind: str) -> Step:
    """A step on real numbers that is quantised: DequantizeLinear -> operator -> QuantizeLinear -> DequantizeLinear."""

    def step(g: _Graph, data: st.DataObject, t: str) -> list[str]:
        n, c, h, w = g.shapes[t]
        if kind == "Conv":
            weight = g.constant(g.rng.integers(-127, 128, (4, c, 1, 1)).astype(np.int8))
            scale = g.constant(np.float32(0.02 / math.sqrt(c)))
            (weight,) = g.add("DequantizeLinear", [weight, scale, "o"], [(4, c, 1, 1)])
            (t,) = g.add("Conv", [t, weight], [(n, 4, h, w)])
        else:
            (t,) = g.add(kind, [t, t] if kind == "Add" else [t], [(n, c, h, w)])
        (t,) = g.add("QuantizeLinear", [t, "s", "z"], [g.shapes[t]])
        return g.add("DequantizeLinear", [t, "s", "z"], [g.shapes[t]])

    return step


def _rescaled(move: Step) -> Step:
    """A move of real numbers whose results are quantised with another scale.

    Not a Transpose: where onnxruntime's optimiser moves it away, two quantisations in a row are left, of which it makes one.
    """

    def step(g: _Graph, data: st.DataObject, t: str) -> list[str]:
        parts = move(g, data, t)
        if parts == [t]:  # two quantisations in a row, which onnxruntime makes one of, with other numbers
            return parts
        made = []
        for moved in parts:
            (q,) = g.add("QuantizeLinear", [moved, "s2", "z2"], [g.shapes[moved]])
            made += g.add("DequantizeLinear", [q, "s2", "z2"], [g.shapes[moved]])
        return made

    return step


def _real_concat(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    return g.add("Concat", [t, t], [(n, 2 * c, h, w)], axis=1)


def _real_pad(g: _Graph, data: st.DataObject, t: str) -> list[str]:
    n, c, h, w = g.shapes[t]
    constants = [
        g.ints(0, 0, 1, 1, 0, 0, 1, 1),
        g.constant(np.float32(data.draw(st.sampled_from((0, 0.33))))),
    ]
    return g.add("Pad", [t, *constants], [(n, c, h + 2, w + 2)])


REAL_STEPS: list[Step] = [
    *(_real("Conv"), _real("Add"), _real("Sigmoid"), _transpose, _reshape, _shuffle, _slice),
    *map(_rescaled, (_slice, _split, _real_concat, _real_pad, _depth_to_space)),
]


@bounded(60)
@given(
    data=st.data(),
    machine=machines(),
    shape=st.tuples(*(st.integers(low, high) for low, high in ((1, 2), (1, 8), (1, 24), (1, 24)))),
    seed=seeds(),
)
def test_moves_of_real_numbers(
    data: st.DataObject, machine: Machine, shape: tuple[int, ...], seed: int
) -> None:
    """Moves without quantisation of their own, one or several readers, and real outputs."""
    g = _Graph(shape, seed)
    (at,) = g.add("DequantizeLinear", ["x", "s", "z"], [shape])
    made = [at]
    for step in data.draw(st.lists(st.sampled_from(REAL_STEPS), min_size=1, max_size=9)):
        at = data.draw(st.sampled_from(made[-3:]))
        made += step(g, data, at)
    read = {name for node in g.nodes for name in node.input}
    outputs = [t for t in g.shapes if t not in read]
    check(g.model(outputs), [values("int8", shape, seed)], machine=machine)
