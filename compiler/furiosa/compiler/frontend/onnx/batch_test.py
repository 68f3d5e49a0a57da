"""Batch size: what grows, what is refused, against separate runs of the reference runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.extract import extract
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, random_inputs, run, tensor

RNG = np.random.default_rng(0)


def one(
    node: str, shape: list, out: list, *constants: onnx.TensorProto, opset: int = 17, **domains: int
) -> bytes:
    """A float model from x to y; a dimension may be a name."""
    declared = ["[" + ",".join(map(str, dims)) + "]" for dims in (shape, out)]
    text = f"g (float{declared[0]} x) => (float{declared[1]} y) {{ {node} }}"
    return model(text, *constants, opset=opset, **domains)


def ints(name: str, *values: int):
    return tensor(name, values, "int64")


def floats(name: str, *shape: int):
    return tensor(name, RNG.standard_normal(shape), "float32")


S, Z = tensor("s", 0.05, "float32"), tensor("z", 3, "uint8")
ATTENTION = """
r = Reshape(x, i)  t = Transpose<perm = [2, 0, 3, 1, 4]>(r)
q = Gather<axis = 0>(t, zero)  k = Gather<axis = 0>(t, one)  v = Gather<axis = 0>(t, two)
s = Transpose<perm = [0, 1, 3, 2]>(k)  a = MatMul(q, s)  p = Softmax<axis = -1>(a)
o = MatMul(p, v)  u = Transpose<perm = [0, 2, 1, 3]>(o)  y = Reshape(u, j)
"""
HEADS = """
t = Transpose<perm = [1, 0, 2]>(x)  r = Reshape(t, i)  h = Transpose<perm = [1, 0, 2]>(r)
k = Transpose<perm = [0, 2, 1]>(h)  a = MatMul(h, k)  y = Reshape(a, j)
"""
WINDOWS = """
r = Reshape(x, i)  t = Transpose<perm = [0, 1, 3, 2, 4, 5]>(r)  w = Reshape(t, j)  m = ReduceMean<axes = [1]>(w)
y = Reshape(m, k)
"""
LSTM = """
t = Transpose<perm = [1, 0, 2]>(x)  a, h, c = LSTM<hidden_size = 2>(t, w, r, , n, i0, c0)
s = Squeeze(a, one)  u = Transpose<perm = [1, 0, 2]>(s)  v = Squeeze(h, zero)  z = Unsqueeze(v, one)  y = Concat<axis = 1>(u, z)
"""
TOKEN = "q = DequantizeLinear(c, s, z)  y = Concat<axis = 1>(q, x)"
ROWS = """
t = Transpose<perm = [1, 0, 2]>(x)  r = Reshape(t, i)  d = Add(r, c)  g = Gemm<transB = 1>(d, w, b)  p = Softmax<axis = 1>(g)
u = Reshape(p, j)  y = Transpose<perm = [1, 0, 2]>(u)
"""
TWICE = """
t = Transpose<perm = [1, 0, 2]>(x)  a = Reshape(t, i)  k = Gemm(a, w)  l = Reshape(k, j)  m = Add(l, t)
n = Reshape(m, i)  o = Gemm(n, w)  q = Reshape(o, j)  y = Transpose<perm = [1, 0, 2]>(q)
"""
IN_PROJECTION = """
t = Transpose<perm = [1, 0, 2]>(x)  f = Flatten<axis = 2>(t)  g = Gemm(f, w)  r = Reshape(g, i)  u = Unsqueeze(r, zero)
v = Transpose<perm = [3, 1, 2, 0, 4]>(u)  s = Squeeze(v, three)  q = Gather<axis = 0>(s, first)  k = Gather<axis = 0>(s, second)
h = Reshape(q, j)  e = Reshape(k, j)  d = Transpose<perm = [1, 0, 2]>(h)  b = Transpose<perm = [1, 2, 0]>(e)  a = MatMul(d, b)
y = Reshape(a, o)
"""
GOOD = {
    "rows of time and batch": one(ROWS, [1, 5, 4], [1, 5, 3], ints("i", 5, 4), floats("c", 5, 1), floats("w", 3, 4), floats("b", 3), ints("j", 5, 1, 3)),
    "rows with a bias for each": one(ROWS, [1, 5, 4], [1, 5, 3], ints("i", 5, 4), floats("c", 5, 4), floats("w", 3, 4), floats("b", 5, 3), ints("j", 5, 1, 3)),
    "rows of a larger batch": one(ROWS, [2, 5, 4], [2, 5, 3], ints("i", 10, 4), floats("c", 10, 4), floats("w", 3, 4), floats("b", 10, 3), ints("j", 5, 2, 3)),
    "rows again and again": one(TWICE, [1, 5, 4], [1, 5, 4], ints("i", 5, 4), floats("w", 4, 4), ints("j", 5, 1, 4)),
    "multi-head attention": one(IN_PROJECTION, [1, 5, 4], [1, 2, 5, 5], floats("w", 4, 12), ints("i", 5, 1, 3, 4), ints("zero", 0), ints("three", 3), tensor("first", 0, "int64"), tensor("second", 1, "int64"), ints("j", 5, 2, 2), ints("o", 1, 2, 5, 5)),
    "pixel shuffle": one("r = Reshape(x, i)  t = Transpose<perm = [0, 1, 4, 2, 5, 3]>(r)  y = Reshape(t, j)", [1, 4, 2, 2], [1, 1, 4, 4], ints("i", 1, 1, 2, 2, 2, 2), ints("j", 1, 1, 4, 4)),
    "groups as a batch": one("r = Reshape(x, i)  n = InstanceNormalization(r, a, b)  y = Reshape(n, j)", [1, 4, 3], [1, 4, 3], ints("i", 1, 2, 6), floats("a", 2), floats("b", 2), ints("j", 1, 4, 3)),
    "a channel for each sample": one("r = Reshape(x, i)  n = BatchNormalization(r, a, b, m, v)  y = Reshape(n, j)", [1, 4, 3], [1, 4, 3], ints("i", 1, 4, 3), *(floats(n, 4) for n in "abm"), tensor("v", [1, 2, 3, 4], "float32"), ints("j", 1, 4, 3)),
    "elements by their flat place": one("r = Reshape(x, i)  y = Gather<axis = 0>(r, j)", [1, 2, 3], [1, 2, 2], ints("i", -1), tensor("j", [[[0, 5], [-2, 3]]], "int64")),
    "places of rows of time and batch": one("t = Transpose<perm = [1, 0, 2]>(x)  r = Reshape(t, i)  g = Gather<axis = 0>(r, k)  y = Gemm(g, w)", [1, 5, 4], [3, 2], ints("i", 5, 4), ints("k", 4, 0, -3), floats("w", 4, 2)),
    "the only row": one("y = Gather(x, i)", [1, 4], [1, 4], ints("i", 0)),
    "a flattened time": one("t = Transpose<perm = [1, 0, 2]>(x)  f = Flatten<axis = 2>(t)  n = Neg(f)  r = Reshape(n, i)  y = Transpose<perm = [1, 0, 2]>(r)", [1, 3, 4], [1, 3, 4], ints("i", 3, 1, 4)),
    "attention": one(ATTENTION, [1, 5, 12], [1, 5, 4], ints("i", 1, 5, 3, 2, 2), ints("j", 1, 5, 4), *(tensor(n, v, "int64") for v, n in enumerate(("zero", "one", "two")))),
    "heads joined with the batch": one(HEADS, [1, 5, 4], [1, 2, 5, 5], ints("i", 5, 2, 2), ints("j", 1, 2, 5, 5)),
    "windows": one(WINDOWS, [1, 4, 4, 3], [1, 2, 2, 3], ints("i", 1, 2, 2, 2, 2, 3), ints("j", 4, 4, 3), ints("k", 1, 2, 2, 3)),
    "time-major recurrence": one(LSTM, [1, 3, 2], [1, 4, 2], floats("w", 1, 8, 2), floats("r", 1, 8, 2), tensor("n", [3], "int32"), floats("i0", 1, 1, 2), floats("c0", 1, 1, 2), ints("zero", 0), ints("one", 1)),
    "gated recurrence": one("t = Transpose<perm = [1, 0, 2]>(x)  a, h = GRU<hidden_size = 2>(t, w, r)  y = Squeeze(h, i)", [1, 3, 2], [1, 2], floats("w", 1, 6, 2), floats("r", 1, 6, 2), ints("i", 0)),
    "a quantised constant joined": one(TOKEN, [1, 3, 2], [1, 4, 2], tensor("c", [[[5, 9]]], "uint8"), S, Z),
    "a filled shape joined": one("s = Shape(x)  c = ConstantOfShape(s)  y = Concat<axis = 1>(x, c)", [1, 3], [1, 6]),
    "channel shuffle": one("r = Reshape(x, i)  t = Transpose<perm = [0, 2, 1, 3, 4]>(r)  y = Reshape(t, j)", [1, 4, 2, 2], [1, 4, 2, 2], ints("i", 1, 2, 2, 2, 2), ints("j", 1, -1, 2, 2)),
    "there and back": one("t = Transpose<perm = [2, 1, 0]>(x)  u = Add(t, c)  y = Transpose<perm = [2, 1, 0]>(u)", [1, 3, 4], [1, 3, 4], floats("c", 4, 3, 1)),
    "a vector": one("r = Reshape(x, i)  t = Add(r, c)  y = Reshape(t, j)", [1, 4], [1, 2, 2], ints("i", 4), floats("c", 1, 1, 4), ints("j", 1, 2, 2)),
    "flatten all": one("t = Flatten<axis = 0>(x)  y = Reshape(t, i)", [1, 2, 2], [1, 4], ints("i", 1, 4)),
    "einsum": one('y = Einsum<equation = "bij,jk->bik">(x, c)', [1, 3, 4], [1, 3, 2], floats("c", 4, 2)),
    "einsum with a constant per sample": one('y = Einsum<equation = "bi,bi->b">(x, c)', [2, 3], [2], floats("c", 2, 3)),
    "gather n-dimensional": one("t = Transpose<perm = [1, 2, 0]>(x)  g = GatherND(t, i)  y = Transpose<perm = [1, 0]>(g)", [1, 3, 4], [1, 2], tensor("i", [[0, 1], [2, 3]], "int64")),
    "gather elements": one("y = GatherElements<axis = 1>(x, i)", [1, 3], [1, 2], tensor("i", [[2, 0]], "int64")),
    "gather from a constant": one("t = Cast<to = 7>(x)  u = Clip(t, a, b)  y = Gather(c, u)", [1, 3], [1, 3, 2], tensor("a", 0, "int64"), tensor("b", 1, "int64"), floats("c", 2, 2)),
    "grid sample": one("y = GridSample(x, g)", [1, 1, 3, 3], [1, 1, 2, 2], floats("g", 1, 2, 2, 2)),
    "slice of the whole batch": one("y = Slice(x, a, b)", [1, 4], [1, 2], ints("a", 0, 1), ints("b", 1, 3)),
    "slice to the end": one("y = Slice(x, a, b, i)", [2, 4], [2, 4], ints("a", 0), ints("b", 2**63 - 1), ints("i", 0)),
    "expand to more dimensions": one("y = Expand(x, i)", [1, 1, 3], [1, 2, 3], ints("i", 2, 1)),
    "expand in front": one("t = Expand(x, i)  y = Transpose<perm = [1, 0, 2]>(t)", [1, 3], [1, 2, 3], ints("i", 2, 1, 3)),
    "top values": one("y, i = TopK(x, k)", [1, 4], [1, 2], ints("k", 2)),
    "greatest index": one("i = ArgMax<axis = 1>(x)  y = Cast<to = 1>(i)", [1, 4], [1, 1]),
    "index without its dimension": one("i = ArgMax<axis = 1, keepdims = 0>(x)  y = Cast<to = 1>(i)", [1, 4, 2], [1, 2]),
    "one hot": one("t = Cast<to = 7>(x)  y = OneHot(t, d, v)", [1, 3], [1, 3, 4], tensor("d", 4, "int64"), tensor("v", [0, 1], "float32")),
    "upper triangle": one("y = Trilu(x)", [1, 3, 3], [1, 3, 3]),
    "cumulative sum": one("y = CumSum(x, i)", [1, 4], [1, 4], tensor("i", 1, "int64")),
    "outer product of rows": one("u = Unsqueeze(x, i)  v = Unsqueeze(x, j)  y = MatMul(u, v)", [1, 3], [1, 3, 3], ints("i", 2), ints("j", 1)),
    "a vector of weights": one("y = MatMul(x, w)", [1, 2, 4], [1, 2], floats("w", 4)),
    "weights of each sample": one("y = MatMul(x, w)", [2, 3, 4], [2, 3, 2], floats("w", 2, 4, 2)),
    "gemm of columns": one("t = Transpose(x)  y = Gemm<transA = 1>(t, w)", [1, 4], [1, 3], floats("w", 4, 3)),
    "relu": one("y = Relu(x)", [1, 3], [1, 3]),
    "an open batch": one("y = Relu(x)", ["N", 3], ["N", 3]),
    "add a constant of several rows": one("y = Add(x, c)", [2, 2], [2, 2], floats("c", 2, 2)),
    "add a constant vector": one("y = Add(x, c)", [1, 2], [1, 2], floats("c", 2)),
    "prelu": one("y = PRelu(x, c)", [1, 2, 3, 3], [1, 2, 3, 3], floats("c", 2, 1, 1)),
    "conv": one("y = Conv(x, w)", [1, 2, 4, 4], [1, 3, 3, 3], floats("w", 3, 2, 2, 2)),
    "batch normalisation": one("y = BatchNormalization(x, a, b, m, v)", [1, 2, 3], [1, 2, 3], *(floats(n, 2) for n in "abm"), tensor("v", [1, 2], "float32")),
    "gemm": one("y = Gemm<transB = 1>(x, w, c)", [1, 4], [1, 3], floats("w", 3, 4), floats("c", 1, 3)),
    "gemm of rows": one("y = Gemm(x, w, c)", [2, 4], [2, 3], floats("w", 4, 3), floats("c", 2, 3)),
    "matmul": one("y = MatMul(x, w)", [1, 5, 4], [1, 5, 3], floats("w", 4, 3)),
    "attention scores": one("t = Transpose<perm = [0, 2, 1]>(x)  y = MatMul(x, t)", [1, 5, 4], [1, 5, 5]),
    "reshape": one("y = Reshape(x, i)", [1, 4], [1, 2, 2], ints("i", 1, 2, 2)),
    "reshape to the rest": one("y = Reshape(x, i)", [1, 4], [1, 2, 2], ints("i", -1, 2, 2)),
    "reshape as it was": one("y = Reshape(x, i)", [1, 4], [1, 2, 2], ints("i", 0, 2, 2)),
    "computed reshape": one("s = Shape(x)  n = Slice(s, a, b)  t = Concat<axis = 0>(n, b, c)  y = Reshape(x, t)", ["N", 4], ["N", 1, 4], ints("a", 0), ints("b", 1), ints("c", 4)),
    "flatten": one("y = Flatten(x)", [1, 2, 3], [1, 6]),
    "transpose": one("y = Transpose<perm = [0, 2, 1]>(x)", [1, 2, 3], [1, 3, 2]),
    "concat with a constant": one("y = Concat<axis = 1>(c, x)", [1, 2], [1, 3], floats("c", 1, 1)),
    "slice": one("y = Slice(x, a, b, i)", [1, 4], [1, 2], ints("a", 1), ints("b", 3), ints("i", 1)),
    "old slice": one("y = Slice<axes = [1], starts = [1], ends = [3]>(x)", [1, 4], [1, 2], opset=9),
    "split": one("y, r = Split<axis = 1>(x)", [1, 4], [1, 2], opset=13),
    "gather": one("y = Gather<axis = 1>(x, i)", [1, 4], [1, 2], ints("i", 3, 0)),
    "expand": one("y = Expand(x, i)", [1, 1, 3], [1, 2, 3], ints("i", 1, 2, 3)),
    "tile": one("y = Tile(x, i)", [1, 2], [1, 4], ints("i", 1, 2)),
    "pad": one("y = Pad(x, i)", [1, 2], [1, 4], ints("i", 0, 1, 0, 1)),
    "old pad": one("y = Pad<pads = [0, 1, 0, 1]>(x)", [1, 2], [1, 4], opset=8),
    "squeeze and unsqueeze": one("t = Unsqueeze(x, i)  u = Neg(t)  y = Squeeze(u, i)", [1, 4], [1, 4], ints("i", 1)),
    "resize by scales": one('y = Resize<mode = "linear">(x, , s)', [1, 1, 2, 2], [1, 1, 4, 4], tensor("s", [1, 1, 2, 2], "float32")),
    "resize to sizes": one('y = Resize<mode = "nearest">(x, , , i)', [1, 1, 2, 2], [1, 1, 4, 4], ints("i", 1, 1, 4, 4)),
    "softmax": one("y = Softmax(x)", [1, 4], [1, 4]),
    "old softmax": one("y = Softmax(x)", [1, 2, 2], [1, 2, 2], opset=11),
    "reduce by attribute": one("y = ReduceMean<axes = [2, 3]>(x)", [1, 2, 3, 3], [1, 2, 1, 1]),
    "reduce by input": one("y = ReduceSum<keepdims = 0>(x, i)", [1, 2, 3], [1, 2], ints("i", -1)),
    "layer normalisation": one("y = LayerNormalization(x, a, b)", [1, 4], [1, 4], floats("a", 4), floats("b", 4)),
    "pools": one("a = MaxPool<kernel_shape = [2, 2]>(x)  y = GlobalAveragePool(a)", [1, 2, 4, 4], [1, 2, 1, 1]),
    "quantisation": one("q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)", [1, 4], [1, 4], S, Z),
    "clip": one("y = Clip(x, a, b)", [1, 4], [1, 4], tensor("a", -0.5, "float32"), tensor("b", 0.5, "float32")),
    "quantised addition": one(
        "q = QuantizeLinear(x, s, z)  a = com.microsoft.QLinearAdd(q, s, z, q, s, z, s, z)  y = DequantizeLinear(a, s, z)", [1, 4], [1, 4], S, Z, com_microsoft=1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_batch_equals_separate_runs(case: str) -> None:
    data = GOOD[case]
    single, graph = import_onnx(data), import_onnx(data, batch_size=3)
    shape = single.inputs[0].shape
    assert graph.inputs[0].shape == (3 * shape[0], *shape[1:])
    samples = [random_inputs(single.inputs, seed)["x"] for seed in range(3)]
    expected = np.concatenate([run(data, {"x": x})[0] for x in samples])
    (actual,) = run(
        extract(graph, graph.operators, graph.inputs, graph.outputs), {"x": np.concatenate(samples)}
    )
    assert graph.outputs[0].shape == expected.shape == actual.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)  # float sums may be ordered otherwise


BAD = {
    "softmax": (one("y = Softmax<axis = 0>(x)", [1, 4], [1, 4]), "works along dimension 0"),
    "reduce all": (one("y = ReduceMean(x)", [1, 4], [1, 1]), "works along dimension 0"),
    "transpose": (one("y = Transpose(x)", [1, 4], [4, 1]), "the output has the samples along dimension 1"),
    "concat": (one("y = Concat<axis = 0>(x, c)", [1, 4], [2, 4], floats("c", 1, 4)), "works along dimension 0"),
    "gather": (one("t = Gather(x, i)  y = Unsqueeze(t, j)", [1, 4], [1, 4], tensor("i", 0, "int64"), ints("j", 0)), "works along dimension 0"),
    "rows as samples": (one("t = Transpose<perm = [1, 0, 2]>(x)  y = Reshape(t, i)", [1, 5, 4], [5, 4], ints("i", 5, 4)), "the output has the samples along dimension"),
    "another division": (one("t = Transpose<perm = [1, 0, 2]>(x)  r = Reshape(t, i)  y = Unsqueeze(r, j)", [1, 3, 4], [1, 4, 3], ints("i", 4, 3), ints("j", 0)), "divides anew what is ahead of dimension 1"),
    "other orders": (one("t = Transpose<perm = [1, 0, 2]>(x)  a = Flatten<axis = 2>(t)  b = Reshape(x, i)  c = Add(a, b)  y = Unsqueeze(c, j)", [1, 3, 4], [1, 3, 4], ints("i", 3, 4), ints("j", 0)), "another order"),
    "slice": (one("y = Slice(x, i, i)", [4], [0], ints("i", 1)), "slices dimension 0"),
    "pad": (one("y = Pad(x, i)", [1, 2], [2, 2], ints("i", 1, 0, 0, 0)), "pads dimension 0"),
    "very old reshape": (one("y = Reshape<shape = [1, 2, 2]>(x)", [1, 4], [1, 2, 2], opset=4), "target shape as an attribute"),
    "old pad": (one("y = Pad<pads = [1, 0, 0, 0]>(x)", [1, 2], [2, 2], opset=2), "pads dimension 0"),
    "gemm": (one("y = Gemm<transA = 1>(x, w)", [4, 1], [1, 3], floats("w", 4, 3)), "sums over dimension 0"),
    "gram matrix": (one("t = Relu(x)  y = MatMul(x, t)", [4, 4], [4, 4]), "multiplies the samples with one another"),
    "outer": (one("y = Add(x, c)", [1, 2], [2, 2], floats("c", 2, 2)), 'spreads "x" over dimension 0'),
    "scales": (one("q = QuantizeLinear<axis = 0>(x, v, w)  y = DequantizeLinear(q, s, z)", [2, 2], [2, 2], tensor("v", [1, 2], "float32"), tensor("w", [0, 0], "uint8"), S, Z), "scales along dimension 0"),
    "recurrent": (one("y, h, c = LSTM<hidden_size = 2>(x, w, r)", [3, 1, 2], [3, 1, 1, 2], floats("w", 1, 8, 2), floats("r", 1, 8, 2)), r"has no batch along dimension 0 of"),
    "indices": (one("y, i = MaxPool<kernel_shape = [2]>(x)  j = Cast<to = 1>(i)  z = Add(y, j)", [1, 1, 4], [1, 1, 3]), "counts its indices"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_mixing_samples_is_refused(case: str) -> None:
    data, message = BAD[case]
    assert import_onnx(data).operators  # fine alone
    with pytest.raises(
        InvalidModel,
        match="batch size 2 is impossible for the tensor .*" + message + ".*; use batch size 1 or ",
    ):
        import_onnx(data, batch_size=2)


def test_a_constant_output_is_repeated() -> None:
    data = model("g (float[1] x) => (float[1] y, float[1] c) { y = Add(x, c) }", tensor("c", [7], "float32"))
    graph = import_onnx(data, batch_size=2)
    cut = extract(graph, graph.operators, graph.inputs, graph.outputs)
    y, c = run(cut, {"x": np.array([1, 2], np.float32)})
    assert (y.tolist(), c.tolist()) == ([8, 9], [7, 7])


def test_an_output_that_cannot_grow() -> None:
    data = model(
        "g (float[1] x) => (float[1] y, float[1] r) { y = Relu(x)  r = RandomNormal<shape = [1]>() }"
    )
    with pytest.raises(InvalidModel, match='tensor "r": the output does not depend on the inputs'):
        import_onnx(data, batch_size=2)


def test_a_model_of_a_batch_gets_as_many_times_more() -> None:
    graph = import_onnx(one("y = Reshape(x, i)", [2, 4], [2, 2, 2], ints("i", 2, 2, 2)), batch_size=4)
    assert (graph.inputs[0].shape, graph.outputs[0].shape) == ((8, 4), (8, 2, 2))
