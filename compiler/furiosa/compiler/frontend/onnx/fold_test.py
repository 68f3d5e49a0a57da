"""Folding against onnxruntime: each operator on constants gives what running it gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.frontend.onnx import fold
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, run, tensor

A = tensor("a", [[7, -7, 3], [0, 2, -9]], "int64")
B = tensor("b", [[2, 2, -2], [5, -1, 4]], "int64")
F = tensor("f", [[0.5, -2.5, 3.99], [1e9, -0.0, 7.0]], "float32")
P = tensor("p", [True, False, True], "bool")
# weights with many ties between two steps of the scales, some out of range
W = tensor("w", np.random.default_rng(0).integers(-600, 600, (5, 6)) / np.float32(4), "float32")
S = tensor("s", [0.5, 0.25, 0.3, 1.0, 2.0, 0.7], "float32")


def ints(name: str, *values: int) -> onnx.TensorProto:
    return tensor(name, values, "int64")


CASES: list[tuple[str, list[onnx.TensorProto]]] = [
    *((f"y = {op}(a, b)", [A, B]) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")),
    *((f"y = {op}(a)", [A]) for op in ("Neg", "Abs", "Transpose", "Shape", "Size")),
    *((f"y = {op}(f)", [F]) for op in ("Ceil", "Floor", "Neg")),
    ("y = Div(f, f)", [F]),
    ("y = Cast<to = 7>(g)", [tensor("g", [0.5, -2.5, 3.99, 1e9], "float32")]),
    ("y = Cast<to = 1>(a)", [A]),
    ("y = Cast<to = 11>(mask)", [tensor("mask", [0, -np.inf, np.nan], "float32")]),
    ("y = Cast<to = 9>(f)", [F]),
    ("y = Cast<to = 10>(w)", [tensor("w", [-np.inf, np.nan, 1e9, 0.1], "float32")]),
    ("y = CastLike(a, p)", [A, P]),
    ("y = Cast<to = 6>(big)", [ints("big", 2**40 + 5, -1)]),
    ("y = Not(p)", [P]),
    ("y = And(p, p)", [P]),
    ("y = Where(p, a, b)", [P, A, B]),
    ("y = Gather<axis = 1>(a, i)", [A, ints("i", -1, 0)]),
    ("y = Gather(a, i)", [A, tensor("i", 1, "int64")]),
    ("y = Concat<axis = -1>(a, b)", [A, B]),
    ("y = Reshape(a, i)", [A, ints("i", 0, -1, 1)]),
    ("y = Reshape<allowzero = 1>(e, i)", [tensor("e", np.zeros((0, 3)), "int64"), ints("i", 3, 0)]),
    ("y = Expand(r, i)", [ints("r", 1, 2, 3), ints("i", 2, 1)]),
    ("y = Tile(a, i)", [A, ints("i", 2, 1)]),
    ("y = Range(s, l, d)", [tensor("s", 9, "int64"), tensor("l", 0, "int64"), tensor("d", -2, "int64")]),
    ("y = ConstantOfShape<value = int64[1] {4}>(i)", [ints("i", 2, 3)]),
    ("y = ConstantOfShape(i)", [ints("i", 2)]),
    ("y = ReduceProd<axes = [1], keepdims = 0>(a)", [A]),
    ("y = ReduceProd(a)", [A]),
    ("y = Slice(a, s, e, x, d)", [A, ints("s", 2, 0), ints("e", -9, 1), ints("x", 1, 0), ints("d", -1, 1)]),
    ("y = Slice(a, s, e)", [A, ints("s", 1), ints("e", 2**62)]),
    ("y = Slice(a, s, e, x)", [A, ints("s", -2), ints("e", 3), ints("x", -1)]),
    ("y = Squeeze(q)", [tensor("q", [[[1, 2]]], "int64")]),
    ("y = Squeeze(q, i)", [tensor("q", [[[1, 2]]], "int64"), ints("i", -3)]),
    ("y = Unsqueeze(a, i)", [A, ints("i", -1, 0)]),
    ("y = Clip(f, l, h)", [F, tensor("l", -1.5, "float32"), tensor("h", 4, "float32")]),
    ("y = Clip(q, , h)", [tensor("q", [-128, -127, 0, 127], "int8"), tensor("h", 100, "int8")]),
    ("y = Clip(q, l)", [tensor("q", [-128, -127, 0, 127], "int8"), tensor("l", -127, "int8")]),
    ("y = QuantizeLinear(w, s)", [W, tensor("s", 0.5, "float32")]),
    ("y = QuantizeLinear(w, s, z)", [W, tensor("s", [0.5], "float32"), tensor("z", [-3], "int8")]),
    ("y = QuantizeLinear<axis = -1>(w, s, z)", [W, S, tensor("z", [0, 1, 255, 128, 7, 3], "uint8")]),
    ("y = Mod(a, b)", [A, B]),
    ("y = Sum(f, g, f)", [F, tensor("g", [[0.3, 1.5, -1.0]], "float32")]),
    ("y = Mod<fmod = 1>(f, g)", [F, tensor("g", [[0.3, 1.5, -1.0]], "float32")]),
    ("y = Xor(p, n)", [P, tensor("n", [True, True, False], "bool")]),
    ("y = Or(p, n)", [P, tensor("n", [True, True, False], "bool")]),
    *((f"y = {op}(f)", [F]) for op in ("Round", "Sign", "IsNaN", "IsInf", "ArgMax", "ReduceMax")),
    ("y = Round(h)", [tensor("h", [0.5, 1.5, 2.5, -0.5, -1.5], "float32")]),
    ("y = Reciprocal(q)", [tensor("q", np.random.default_rng(0).normal(0, 100, 1000), "float32")]),
    ("y = Sqrt(q)", [tensor("q", [0.0, 2.0, 3.7, 1e30, 1e-40], "float32")]),
    ("y = Sign(a)", [A]),
    ("y = Identity(a)", [A]),
    ("y = Flatten<axis = -1>(c)", [tensor("c", np.arange(12).reshape(2, 3, 2), "int64")]),
    ("y = Pow(b, e)", [tensor("b", [2, 3, -2, 7, 0], "int64"), tensor("e", [3, 2, 3, 0, 0], "int32")]),
    ("y = ArgMin<axis = 1, keepdims = 0>(a)", [A]),
    ("y = ReduceMin<axes = [1], keepdims = 0>(a)", [A]),
    ("y = ReduceSum<keepdims = 0>(a, i)", [A, ints("i", -1)]),
    ("y = ReduceSum(a)", [A]),
    ("y = CumSum(a, x)", [A, tensor("x", 1, "int64")]),
    ("y = CumSum<exclusive = 1, reverse = 1>(a, x)", [A, tensor("x", -1, "int32")]),
    ("y = NonZero(a)", [A]),
    ("y = NonZero(p)", [P]),
    ("y = Compress<axis = 1>(a, p)", [A, P]),
    ("y = Compress(a, p)", [A, P]),
    ("y = GatherElements<axis = 1>(a, i)", [A, tensor("i", [[0, -1], [2, 2]], "int64")]),
    ("y = GatherND(a, i)", [A, tensor("i", [[0, -1], [1, 2], [1, 0]], "int64")]),
    ("y = GatherND(a, i)", [A, tensor("i", [[1], [-2]], "int64")]),
    ("y = ScatterND(a, i, u)", [A, tensor("i", [[0, 2], [-1, 0]], "int64"), ints("u", 100, 200)]),
    ("y = ScatterND(a, i, u)", [A, tensor("i", [[1]], "int64"), tensor("u", [[1, 2, 3]], "int64")]),
    ("y = ScatterElements<axis = 1>(a, i, u)", [A, tensor("i", [[2, 0], [-2, 2]], "int64"), tensor("u", [[50, 51], [52, 53]], "int64")]),
    ("y = OneHot(i, d, v)", [ints("i", 0, -1, 2, 7), tensor("d", 3, "int64"), tensor("v", [2.0, 5.0], "float32")]),
    ("y = OneHot<axis = 0>(i, d, v)", [tensor("i", [[0, 1], [1, 2]], "int64"), tensor("d", 3, "int64"), ints("v", 0, 1)]),
    ("y = Trilu(a)", [A]),
    ("y = Trilu<upper = 0>(a, k)", [A, tensor("k", -1, "int64")]),
    ("y = EyeLike<dtype = 7, k = 1>(f)", [F]),
    ("y = Pad(a, i)", [A, ints("i", 0, 1, 2, 0)]),
    ("y = Pad(a, i, v)", [A, ints("i", 0, 1, 2, 0), tensor("v", -4, "int64")]),
    ("y = Range(s, l, d)", [tensor("s", 0, "float32"), tensor("l", 300, "float32"), tensor("d", 0.3, "float32")]),
    ("y = Range(s, l, d)", [tensor("s", 3, "float32"), tensor("l", 0, "float32"), tensor("d", 0.5, "float32")]),
    ("y = com.microsoft.QuantizeLinear(w, s, z)", [W, tensor("s", 0.01, "float32"), tensor("z", -9000, "int16")]),
]  # fmt: skip
BLOCKED = [  # opset 21: blocks along an axis, the last of them shorter; the element type by attribute
    ("y = QuantizeLinear<axis = 1, block_size = 4>(w, s)", [W, tensor("s", np.linspace(0.1, 0.9, 10).reshape(5, 2), "float32")]),
    (
        "y = QuantizeLinear<axis = 0, block_size = 2>(w, s, z)",
        [W, tensor("s", np.linspace(0.1, 0.9, 18).reshape(3, 6), "float32"), tensor("z", np.arange(-9, 9).reshape(3, 6), "int8")],
    ),
    *((f"y = {op}(a, b)", [A, B]) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    ("y = BitwiseNot(a)", [A]),
    ("y = Pad(a, i, v, x)", [A, ints("i", 1, 2), tensor("v", -4, "int64"), ints("x", -1)]),
    ("y = QuantizeLinear<output_dtype = 3>(w, s)", [W, tensor("s", 0.5, "float32")]),
]  # fmt: skip
OLD = [  # opset 9: axes and bounds by attribute
    ("y = Slice<starts = [0, 1], ends = [1, 9]>(a)", [A]),
    ("y = Slice<axes = [1], starts = [-2], ends = [3]>(a)", [A]),
    ("y = Squeeze<axes = [0]>(q)", [tensor("q", [[1, 2]], "int64")]),
    ("y = Unsqueeze<axes = [1]>(q)", [tensor("q", [1, 2], "int64")]),
    ("y = Clip<min = -1.5, max = 4.0>(f)", [F]),
]


@pytest.mark.parametrize(
    ("text", "constants", "opset"),
    [(*c, 17) for c in CASES] + [(*c, 9) for c in OLD] + [(*c, 21) for c in BLOCKED],
    ids=str,
)
def test_folded_equals_run(text: str, constants: list[onnx.TensorProto], opset: int) -> None:
    node = onnx.parser.parse_node(text)
    domains = {"com_microsoft": 1} if node.domain else {}
    data = model(f"g () => (y) {{ {text} }}", *constants, opset=opset, **domains)
    graph = import_onnx(data)
    assert graph.operators == [], "not folded"
    typed = onnx.ModelProto.FromString(data)
    code = onnx.helper.np_dtype_to_tensor_dtype(graph.outputs[0].data.dtype)
    typed.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(node.output[0], code, None))
    (expected,) = run(typed.SerializeToString(), {})
    folded = graph.outputs[0].data
    assert (folded.dtype, folded.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(folded, expected)
    assert not folded.flags.writeable and folded.flags.c_contiguous


@pytest.mark.parametrize(
    "text",
    [
        "y = Pow(f, f)",  # rounded as each runtime likes
        "y = ReduceSum(f)",  # in the order that each likes
        "y = CumSum(f, i)",
        "y = ScatterND(f, j, g)",  # the same place twice
        "y = Mod(a, z)",
        "y = Pow(a, a)",
        "y = Cast<to = 6>(h)",
        "y = Cast<to = 7>(n)",
    ],
)
def test_what_is_not_exact_is_left_to_the_runtime(text: str) -> None:
    constants = [
        *(tensor(n, [1.5, 2.5, 0.1], "float32") for n in "fg"), tensor("i", 0, "int64"),
        tensor("j", [[0], [1], [0]], "int64"), ints("a", -40, 50, 3), ints("z", 1, 0, 2),
        tensor("h", [1.0, 3e9], "float32"), tensor("n", [1.0, np.nan], "float32"),
    ]  # fmt: skip
    (op,) = import_onnx(model(f"g () => (y) {{ {text} }}", *constants)).operators
    assert text.startswith(f"y = {op.op_type}")


def test_every_part_of_a_split() -> None:
    for text, opset in (
        ("p, q = Split<axis = 1>(a, i)", 17),
        ("p, q = Split<axis = 1, num_outputs = 2>(a)", 18),
        ("p, q = Split<axis = 1, split = [2, 1]>(a)", 11),
    ):
        data = model(f"g () => (int64[2,2] p, int64[2,1] q) {{ {text} }}", A, ints("i", 2, 1), opset=opset)
        graph = import_onnx(data)
        assert graph.operators == []
        for t, expected in zip(graph.outputs, run(data, {}), strict=True):
            np.testing.assert_array_equal(t.data, expected)


def test_every_operator_is_tested() -> None:
    tested = {onnx.parser.parse_node(text).op_type for text, _ in CASES + BLOCKED}
    assert tested - {"CastLike", "Shape", "Size"} == set(fold._FOLDS)


def test_weights_are_folded_whatever_their_size() -> None:
    w = tensor("w", np.random.default_rng(0).normal(0, 1, (700, 300)), "float32")
    s, z = tensor("s", 0.01, "float32"), tensor("z", 0, "int8")
    text = "g () => (y) { t = Transpose(w)  q = QuantizeLinear(t, s, z)  y = Clip(q, l, h) }"
    low, high = tensor("l", -127, "int8"), tensor("h", 127, "int8")
    (y,) = import_onnx(model(text, w, s, z, low, high)).outputs
    assert y.is_constant and y.data.nbytes == 210_000


def test_what_is_folded_of_weights_is_bounded_by_the_file() -> None:
    w = tensor("w", np.zeros((700, 300)), "float32")
    steps = "  ".join(f"t{i + 1} = Transpose(t{i})" for i in range(5))
    graph = import_onnx(model(f"g () => (y) {{ t0 = Transpose(w)  {steps}  y = Transpose(t5) }}", w))
    assert [op.op_type for op in graph.operators] == ["Transpose"] * 5


@pytest.mark.parametrize(
    ("w", "s"), [([1.0, np.nan], 0.5), ([1.0, np.inf], 0.5), ([1.0, 2.0], 0.0), ([1.0, 2.0], -1.0)]
)
def test_numbers_out_of_the_ordinary_are_left_to_the_runtime(w: list[float], s: float) -> None:
    constants = [tensor("w", w, "float32"), tensor("s", s, "float32")]
    (op,) = import_onnx(model("g () => (y) { y = QuantizeLinear(w, s) }", *constants)).operators
    assert op.op_type == "QuantizeLinear"


def test_a_chain_through_reshapes_with_computed_shapes() -> None:
    """The shape of the second reshape is known only once the first has been inferred."""
    data = model(
        """g (float[N,2,6] x) => (float[a,b,c] y) {
            s = Shape(x)  n = Gather(s, zero)  t = Concat<axis = 0>(n, rest)  r = Reshape(x, t)
            u = Shape(r)  m = Gather(u, one)  half = Div(m, two)  v = Concat<axis = 0>(n, half, two)  y = Reshape(r, v)
        }""",
        ints("zero", 0), ints("one", 1), ints("two", 2), ints("rest", -1),
    )  # fmt: skip
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == ["Reshape", "Reshape"]
    assert graph.outputs[0].shape == (1, 6, 2)
