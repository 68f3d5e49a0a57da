"""An If or a Loop that constants decide is what it comes to; the numbers are those of onnxruntime's own run."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.importer import extract_host_model
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, random_inputs, run, tensor
from furiosa.compiler.selection import Selection

ONE, AXIS = tensor("one", 1, "int64"), tensor("axis", [1], "int64")

# as torch.onnx.export writes squeeze(1) of a dimension whose size it does not know
SQUEEZE = """
g (float[1,H,4] x) => (y) {
    s = Shape(x)
    h = Gather(s, one)
    c = Equal(h, one)
    y = If (c) <
        then_branch = t () => (u) { u = Squeeze(x, axis) },
        else_branch = e () => (v) { u = Relu(x)  w = Neg(u)  v = Add(w, h2) }
    >
    h2 = Cast <to = 1> (h)
}"""
LOOP = """
g (float[2] x) => (float[2] y, float[n,2] z) {
    y, z = Loop (m, c, x) <
        body = b (int64 i, bool cc, float[2] a) => (bool co, float[2] ao, float[2] sc) {
            co = Identity(cc)
            f = Cast <to = 1> (i)
            ao = Add(a, f)
            sc = Mul(ao, x)
        }
    >
}"""


def same_as_run(data: bytes, **shapes: tuple[int, ...]) -> list[str]:
    """Checks the numbers; the types of the operators."""
    graph = import_onnx(data, selection=Selection(shapes))
    feed = random_inputs(graph.inputs, 0)
    host = extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)
    for expected, found in zip(run(data, feed), run(host, feed), strict=True):
        np.testing.assert_array_equal(found, expected)
    return [op.op_type for op in graph.operators]


def squeeze() -> bytes:
    proto = onnx.ModelProto.FromString(model(SQUEEZE, ONE, AXIS))
    nodes = list(proto.graph.node)  # h2 was written last
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes[:3], nodes[4], nodes[3]])
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return proto.SerializeToString()


def test_a_branch_that_sizes_decide() -> None:
    assert same_as_run(squeeze(), x=(1, 1, 4)) == ["Squeeze"]
    assert same_as_run(squeeze(), x=(1, 3, 4)) == ["Relu", "Neg", "Add"]


def test_an_if_within_an_if_and_equal_names_in_both_branches() -> None:
    text = """
    g (float[1,4] x) => (float[1,4] y, float[1,4] z) {
        a = Relu(x)
        y = If (p) <
            then_branch = t () => (float[1,4] u) {
                d = Neg(a)
                u = If (q) <
                    then_branch = tt () => (float[1,4] w) { b = Exp(a)  w = Abs(b) },
                    else_branch = te () => (float[1,4] w) { w = Add(d, k) }
                >
            },
            else_branch = e () => (float[1,4] u) { u = Identity(a) }
        >
        z = If (r) <
            then_branch = t2 () => (float[1,4] u) { b = Sqrt(a)  u = Neg(b) },
            else_branch = e2 () => (float[1,4] u) { u = Identity(a) }
        >
    }"""
    k = tensor("k", np.ones((1, 4)), "float32")

    def chosen(p: bool, q: bool, r: bool) -> list[str]:
        flags = [tensor(n, v, "bool") for n, v in zip("pqr", (p, q, r))]
        return same_as_run(model(text, k, *flags))

    assert chosen(True, True, True) == ["Relu", "Exp", "Abs", "Sqrt", "Neg"]
    assert chosen(True, False, False) == ["Relu", "Neg", "Add"]  # two names of one tensor
    assert chosen(False, False, False) == ["Relu", "Identity"]


@pytest.mark.parametrize("opset", [11, 17])
def test_a_loop_of_known_length(opset: int) -> None:
    data = model(LOOP, tensor("m", 3, "int64"), tensor("c", True, "bool"), opset=opset)
    assert same_as_run(data) == [*["Add", "Mul", "Unsqueeze"] * 3, "Concat"]


def test_a_loop_whose_state_grows() -> None:
    text = """
    g (float[1,2] x) => (float[n,2] y) {
        y = Loop (m, , x) <
            body = b (int64 i, bool cc, float[r,2] a) => (bool co, float[s,2] ao) {
                co = Constant <value = bool {1}> ()
                ao = Concat <axis = 0> (a, x)
            }
        >
    }"""
    data = model(text, tensor("m", 3, "int64"))
    assert same_as_run(data) == ["Concat"] * 3
    assert import_onnx(data).outputs[0].shape == (4, 2)


@pytest.mark.parametrize(
    ("m", "c", "change"),
    [
        (3, False, None),  # no turn: results of unknown shape
        (0, True, None),
        (2000, True, None),  # too many
        (
            3,
            True,
            ("co = Identity(cc)", "t = ReduceSum <keepdims = 0> (a)  co = Cast <to = 9> (t)"),
        ),  # values decide
    ],
)
def test_other_loops_stay(m: int, c: bool, change: tuple[str, str] | None) -> None:
    text = LOOP.replace(*change) if change else LOOP
    data = model(text, tensor("m", m, "int64"), tensor("c", c, "bool"))
    with pytest.raises(
        InvalidModel, match=r'"z" has the dynamic shape \[\?, 2\]: operator ".*" \(Loop\) makes'
    ):
        import_onnx(data)


def test_all_loops_together_are_bounded() -> None:
    """Fifty loops of 250 operators each; those beyond the bound stay loops, in one region."""
    loops = "".join(
        f"""
        x{k + 1} = Loop (m, , x{k}) <
            body = b (int64 i, bool cc, float[2] a) => (bool co, float[2] ao) {{ co = Identity(cc)  ao = Neg(a) }}
        >"""
        for k in range(50)
    )
    data = model(f"g (float[2] x0) => (float[2] x50) {{ {loops} }}", tensor("m", 125, "int64"))
    types = [op.op_type for op in import_onnx(data).operators]
    assert types[-1] == "HostRegion" and types == ["Neg"] * (len(types) - 1) + types[-1:]
    assert 125 <= len(types) - 1 <= 4096


def test_a_loop_that_goes_on_by_a_constant_outside() -> None:
    """As TorchScript writes a loop over a dimension: the count is a size, and the body hands on a constant of the main graph."""
    text = """
    g (float[1,N,4] x) => (float[a,b] y) {
        s = Shape(x)
        n = Gather(s, one)
        y = Loop (n, go, zeros) <
            body = b (int64 i, bool cc, float[1,4] at) => (bool co, float[a,b] next) {
                part = Gather <axis = 1> (x, i)
                next = Add(at, part)
                co = Identity(go)
            }
        >
    }"""
    zeros = tensor("zeros", np.zeros((1, 4)), "float32")
    yes = model(text, ONE, tensor("go", True, "bool"), zeros)
    assert same_as_run(yes, x=(1, 3, 4)).count("Add") == 3
    with pytest.raises(
        InvalidModel, match="depends on how the graphs inside are run, which constants do not decide"
    ):
        import_onnx(
            model(text, ONE, tensor("go", False, "bool"), zeros), selection=Selection({"x": (1, 3, 4)})
        )
