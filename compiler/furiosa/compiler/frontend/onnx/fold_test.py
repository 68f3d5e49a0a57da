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


def ints(name: str, *values: int) -> onnx.TensorProto:
    return tensor(name, values, "int64")


CASES: list[tuple[str, list[onnx.TensorProto]]] = [
    *((f"y = {op}(a, b)", [A, B]) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")),
    *((f"y = {op}(a)", [A]) for op in ("Neg", "Abs", "Transpose", "Shape", "Size")),
    *((f"y = {op}(f)", [F]) for op in ("Ceil", "Floor", "Neg")),
    ("y = Div(f, f)", [F]),
    ("y = Cast<to = 7>(g)", [tensor("g", [0.5, -2.5, 3.99, 1e9], "float32")]),
    ("y = Cast<to = 1>(a)", [A]),
    ("y = Cast<to = 9>(f)", [F]),
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
]  # fmt: skip
OLD = [  # opset 9: axes and bounds by attribute
    ("y = Slice<starts = [0, 1], ends = [1, 9]>(a)", [A]),
    ("y = Slice<axes = [1], starts = [-2], ends = [3]>(a)", [A]),
    ("y = Squeeze<axes = [0]>(q)", [tensor("q", [[1, 2]], "int64")]),
    ("y = Unsqueeze<axes = [1]>(q)", [tensor("q", [1, 2], "int64")]),
]


@pytest.mark.parametrize(
    ("text", "constants", "opset"), [(*c, 17) for c in CASES] + [(*c, 9) for c in OLD], ids=str
)
def test_folded_equals_run(text: str, constants: list[onnx.TensorProto], opset: int) -> None:
    node = onnx.parser.parse_node(text)
    data = model(f"g () => (y) {{ {text} }}", *constants, opset=opset)
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


def test_every_operator_is_tested() -> None:
    tested = {onnx.parser.parse_node(text).op_type for text, _ in CASES}
    assert tested >= set(fold._FOLDS) - {"Or"}


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
