"""Quantisation in random places of random small graphs: onnxruntime's numbers, whatever of it the NPU takes.

All scales are powers of two and weights are small, so that every sum is exact in float32, in any order: then what onnxruntime computes
in floating point is exact, too, and nothing is excused.  Ties abound.  (docs/numerics.md has what becomes of other scales.)
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from tests.properties.qdq import MICROSOFT, Net, Refused, inputs_of, reference, simulated

FACTOR = int(os.environ.get("PROPERTY_EXAMPLES", "1"))
GRAPHS = 150


class _Random:
    """Draws a graph; ``values`` are the real tensors so far, with their shapes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = Net(int(self.rng.choice([13, 13, 17, 18])), seed)
        self.dtype = str(self.rng.choice(["int8", "uint8"]))
        self.values: list[tuple[str, tuple[int, ...]]] = []
        self.quantizations: dict[str, list[str]] = {}
        self.density = float(self.rng.choice([0.7, 0.97]))  # of quantisation

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *options: object) -> object:
        return options[int(self.rng.integers(len(options)))]

    def scale(self) -> float:
        return 2.0 ** int(self.rng.integers(-6, 0))

    def zero(self, dtype: str) -> int:
        limits = np.iinfo(dtype)
        middle = (limits.min + limits.max + 1) // 2
        return int(self.pick(limits.min, middle, middle, int(self.rng.integers(limits.min, limits.max))))

    def quantized(self, x: str) -> str:
        """A tensor, perhaps quantised and dequantised: once or twice, by a pair of its own, by one that is there already, …"""
        if not self.chance(self.density):
            return x
        if x in self.quantizations and self.chance(0.6):
            return str(self.pick(*self.quantizations[x]))
        dtype = self.dtype if self.chance(0.9) else str(self.pick("int8", "uint8"))
        scale, zero = self.scale(), self.zero(dtype)
        shape = [1] if self.chance(0.1) else []
        more = {"domain": MICROSOFT} if self.chance(0.1) else {}
        q = self.net.q(x, np.full(shape, scale), zero, dtype, **more)
        if self.chance(0.1):
            q = self.net.node("Clip", q, self.net.constant(zero - zero // 3, dtype), "")
        y = self.net.dq(q, np.full(shape, scale), zero, dtype, **more)
        self.quantizations.setdefault(x, []).append(y)
        if self.chance(0.15):  # another pair of the same numbers
            self.quantizations[x].append(self.net.pair(x, np.full(shape, scale), zero, dtype, **more))
        return y

    def weights(self, shape: tuple[int, ...], axis: int) -> str:
        """int8 weights by one scale or one a channel; sometimes real numbers.

        Of a product the one scale is a tensor of one element: by a scalar that no other operator shares onnxruntime quantises real data
        that such weights multiply, so that what it computes depends on the scales of other layers.
        """
        net = self.net
        w = self.rng.integers(-7, 8, shape)
        if self.chance(0.1):
            return net.constant(w / 4)
        per_channel = self.chance(0.5)
        scale = np.exp2(self.rng.integers(-5, -1, shape[axis])) if per_channel else self.scale()
        if len(shape) == 2 and not per_channel:
            scale = np.full(1, scale)
        kind = "uint8" if self.dtype == "uint8" and not per_channel and self.chance(0.2) else "int8"
        zero = int(self.rng.integers(0, 5)) if kind == "uint8" else 0
        along = {"axis": axis} if per_channel else {}
        if self.chance(0.3):
            spread = [-1 if i == axis else 1 for i in range(len(shape))]
            real = (w - zero) * (scale.reshape(spread) if per_channel else scale)
            return net.pair(net.constant(real), scale, zero, kind, **along)
        return net.dq(net.constant(np.abs(w) if kind == "uint8" else w, kind), scale, zero, kind, **along)

    def bias(self, channels: int) -> list[str]:
        return [] if self.chance(0.5) else [self.net.constant(self.rng.integers(-64, 64, channels) / 2.0**11)]

    def value(self, rank: int | None = None) -> tuple[str, tuple[int, ...]] | None:
        found = [v for v in self.values[-6:] if rank is None or len(v[1]) == rank]
        if not found:
            return None
        name, shape = found[int(self.rng.integers(len(found)))]
        return self.quantized(name), shape

    def step(self) -> None:
        """Adds one operator, if it has operands."""
        kind = str(self.pick(*_STEPS))
        made = _STEPS[kind](self)
        if made is not None:
            self.values.append(made)

    def finish(self) -> Net:
        """All that nobody reads is an output: what is computed for nothing is no part of the model for everybody."""
        while ends := [name for name, _ in self.values if name not in self._read() and name in self._made()]:
            for name in ends:
                y = self.quantized(name)
                if y == name:
                    self.net.output(y)
                    self.values = [v for v in self.values if v[0] != name]
        self.net.output(*(n for n in self._made() if n not in self._read() and n not in self.net.outputs))
        return self.net

    def _read(self) -> set[str]:
        return {name for node in self.net.nodes for name in node.input}

    def _made(self) -> list[str]:
        return [name for node in self.net.nodes for name in node.output]


def _conv(r: _Random):
    found = r.value(4)
    if found is None:
        return None
    x, (n, c, h, w) = found
    k = int(r.pick(1, 3))
    if min(h, w) < k:
        return None
    out = int(r.pick(2, 4, c))
    pads, stride = (k // 2 if r.chance(0.6) else 0), int(r.pick(1, 1, 2))
    group = c if out == c and r.chance(0.3) else 1
    weights = r.weights((out, c // group, k, k), 0)
    y = r.net.node("Conv", x, weights, *r.bias(out), pads=[pads] * 4, strides=[stride] * 2, group=group)
    size = [(d + 2 * pads - k) // stride + 1 for d in (h, w)]
    return y, (n, out, *size)


def _conv_transpose(r: _Random):
    found = r.value(4)
    if found is None or max(found[1][2:]) > 8:
        return None
    x, (n, c, h, w) = found
    y = r.net.node("ConvTranspose", x, r.weights((c, 2, 2, 2), 1), *r.bias(2), strides=[2, 2])
    return y, (n, 2, 2 * h, 2 * w)


def _matmul(r: _Random):
    found = r.value()
    if found is None or len(found[1]) < 2 or found[1][-1] > 64:
        return None
    x, shape = found
    out = int(r.pick(3, 8))
    if len(shape) == 2 and r.chance(0.5):
        transposed = r.chance(0.5)
        w = r.weights((out, shape[-1]) if transposed else (shape[-1], out), 0 if transposed else 1)
        return r.net.node("Gemm", x, w, *r.bias(out), transB=int(transposed)), (shape[0], out)
    if r.chance(0.3):
        w = r.net.node("Transpose", r.weights((out, shape[-1]), 0), perm=[1, 0])
    else:
        w = r.weights((shape[-1], out), 1)
    y = r.net.node("MatMul", x, w)
    bias = r.bias(out)
    return (r.net.node("Add", y, *bias) if bias else y), (*shape[:-1], out)


def _product(r: _Random):
    found = r.value()
    if found is None or len(found[1]) < 2:
        return None
    x, shape = found
    perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    other = r.quantized(r.net.node("Transpose", x, perm=perm))
    return r.net.node("MatMul", x, other), (*shape[:-1], shape[-2])


def _unary(r: _Random):
    found = r.value()
    if found is None:
        return None
    x, shape = found
    match r.pick("Relu", "Relu", "Clip", "LeakyRelu", "Neg", "HardSigmoid", "Identity"):
        case "Clip":
            ends = [r.net.constant(v) for v in r.pick((0.0, 6.0), (-0.5, 0.5), (0.0, 0.25))]
            return r.net.node("Clip", x, *ends), shape
        case "LeakyRelu":
            return r.net.node("LeakyRelu", x, alpha=0.25), shape
        case "HardSigmoid":
            return r.net.node("HardSigmoid", x, alpha=0.25, beta=0.5), shape
        case kind:
            return r.net.node(str(kind), x), shape


def _binary(r: _Random):
    first, second = r.value(), r.value()
    if first is None or second is None or first[1] != second[1]:
        if first is None:
            return None
        second = (r.net.constant(r.scale()), ()) if r.chance(0.5) else (r.quantized(first[0]), first[1])
    return r.net.node(str(r.pick("Add", "Add", "Mul", "Sub", "Max")), first[0], second[0]), first[1]


def _move(r: _Random):
    found = r.value()
    if found is None:
        return None
    x, shape = found
    kind = r.pick("Reshape", "Transpose", "Flatten", "Unsqueeze", "Slice", "Pad", "Split", "Tile")
    rank = len(shape)
    match kind:
        case "Reshape":
            return r.net.node("Reshape", x, r.net.integers(shape[0], -1)), (shape[0], int(np.prod(shape[1:])))
        case "Transpose" if rank >= 2:
            perm = [0, *range(rank - 1, 0, -1)]
            return r.net.node("Transpose", x, perm=perm), tuple(shape[p] for p in perm)
        case "Flatten":
            return r.net.node("Flatten", x), (shape[0], int(np.prod(shape[1:])))
        case "Unsqueeze" if rank < 4:
            return r.net.node("Unsqueeze", x, r.net.integers(0)), (1, *shape)
        case "Slice" if shape[1:] and shape[1] > 1:
            y = r.net.node("Slice", x, r.net.integers(1), r.net.integers(shape[1]), r.net.integers(1))
            return y, (shape[0], shape[1] - 1, *shape[2:])
        case "Pad" if rank == 4:
            pads = [0, 0, 1, 0, 0, 0, 0, 1]
            y = r.net.node("Pad", x, r.net.integers(*pads), r.net.constant(r.scale()))
            return y, (*shape[:2], shape[2] + 1, shape[3] + 1)
        case "Split" if rank >= 2 and shape[1] % 2 == 0:
            more = {"num_outputs": 2} if r.net.opset >= 18 else {}
            half = (shape[0], shape[1] // 2, *shape[2:])
            a, b = r.net.several("Split", x, outputs=2, axis=1, **more)
            r.values.append((a, half))
            return b, half
        case "Tile" if rank >= 2 and shape[-1] < 9:
            return r.net.node("Tile", x, r.net.integers(*[1] * (rank - 1), 2)), (*shape[:-1], 2 * shape[-1])
    return None


def _pool(r: _Random):
    found = r.value(4)
    if found is None or min(found[1][2:]) < 2:
        return None
    x, (n, c, h, w) = found
    match r.pick("MaxPool", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceMax"):
        case "GlobalAveragePool":
            return r.net.node("GlobalAveragePool", x), (n, c, 1, 1)
        case "ReduceMean" | "ReduceMax" as kind:
            if r.net.opset >= 18:
                return r.net.node(str(kind), x, r.net.integers(2, 3), keepdims=1), (n, c, 1, 1)
            return r.net.node(kind, x, axes=[2, 3], keepdims=1), (n, c, 1, 1)
        case kind:
            y = r.net.node(str(kind), x, kernel_shape=[2, 2], strides=[2, 2])
            return y, (n, c, h // 2, w // 2)


def _concat(r: _Random):
    first, second = r.value(4), r.value(4)
    if first is None or second is None or first[1] != second[1]:
        return None
    axis = int(r.pick(1, 1, 2, 3))
    shape = list(first[1])
    shape[axis] *= 2
    return r.net.node("Concat", first[0], second[0], axis=axis), tuple(shape)


_STEPS = {
    "conv": _conv,
    "conv again": _conv,
    "conv_transpose": _conv_transpose,
    "matmul": _matmul,
    "product": _product,
    "unary": _unary,
    "unary again": _unary,
    "binary": _binary,
    "binary again": _binary,
    "move": _move,
    "move again": _move,
    "pool": _pool,
    "concat": _concat,
}


def graph(seed: int) -> Net:
    r = _Random(seed)
    r.values.append((r.net.input([1, 4, 8, 8]), (1, 4, 8, 8)))
    if r.chance(0.3):
        r.values.append((r.net.input([1, 4, 8, 8]), (1, 4, 8, 8)))
    for _ in range(int(r.rng.integers(2, 10))):
        r.step()
    if len(r.values) < 2 or not r.net.nodes:
        return graph(seed + 10**6)
    return r.finish()


@pytest.mark.parametrize("seed", range(GRAPHS * FACTOR))
def test_random_placement(seed: int) -> None:
    model = graph(seed).model()
    inputs = [{k: np.round(v * 16) / 16 for k, v in inputs_of(model, s).items()} for s in range(2)]
    try:
        expected = [reference(model, arrays) for arrays in inputs]
    except Refused as e:
        pytest.skip(f"nothing to compare with, onnxruntime refuses this random model: {str(e)[:100]}")
    placed = simulated(model, inputs)
    for actual, arrays in zip(placed.outputs, expected):
        for a, e in zip(actual, arrays, strict=True):
            assert (a.dtype, a.shape) == (e.dtype, e.shape)
            np.testing.assert_array_equal(a, e, err_msg=str(placed.on_host))
