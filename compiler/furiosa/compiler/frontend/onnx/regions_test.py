"""Regions of unknown shapes: what is enclosed, what stays outside, and that the result is onnxruntime's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.frontend.importer import extract_host_model
from furiosa.compiler.frontend.onnx import testing
from furiosa.compiler.frontend.onnx.importer import import_onnx
from furiosa.compiler.frontend.onnx.testing import model, tensor

X = {"x": np.array([3, 0, -1, 0, 5, 2], np.float32)}


def check(data: bytes, expected: list[str], inputs: dict[str, np.ndarray] = X) -> None:
    """The operators of the import, and the results of the whole model cut out again."""
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators] == expected
    again = extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)
    assert again == extract_host_model(graph, graph.operators, graph.inputs, graph.outputs)
    onnx.checker.check_model(again)
    for a, b in zip(testing.run(data, inputs), testing.run(again, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_ends_of_a_region() -> None:
    check(
        model("""g (float[6] x) => (float[1] y, float[6] z) {
            a = Neg(x)  n = NonZero(a)  m = Neg(n)  s = ReduceSum(m)  f = Cast<to=1>(s)
            r = Reshape(f, one)  y = Exp(r)  z = Exp(a)
        }""", tensor("one", [1], "int64")),
        ["Neg", "HostRegion", "Cast", "Reshape", "Exp", "Exp"],
    )  # fmt: skip


def test_two_regions_are_apart() -> None:
    check(
        model("""g (float[6] x) => (float[2] y) {
            n = NonZero(x)  a = Shape(n)  b = Cast<to=1>(a)  c = Neg(b)
            d = NonZero(c)  e = Shape(d)  y = Cast<to=1>(e)
        }"""),
        ["HostRegion", "Cast", "Neg", "HostRegion", "Cast"],
    )  # fmt: skip


def test_regions_in_a_circle_become_one() -> None:
    """Both p and q are of unknown shape; p's end q's beginning and the other way round."""
    check(
        model("""g (float[6] x) => (float[1,1] y) {
            p = NonZero(x)     q = Unique(x)
            pn = Shape(p)      qn = Shape(q)
            pm = Mul(p, qn)    pf = Cast<to=1>(pn)  s = ReduceSum(pf)  qm = Mul(q, s)
            a = ReduceSum(pm)  b = ReduceSum(qm)
            c = Cast<to=1>(a)  y = Add(c, b)
        }"""),
        ["HostRegion", "Cast", "Add"],
    )  # fmt: skip


def test_subgraphs_in_a_region_read_from_outside() -> None:
    check(
        model("""g (bool c, float[6] x, float[6] w) => (float[1] y) {
            v = Neg(w)
            a = If(c) <
                then_branch = t () => (float[n] p) { p = Compress(v, mask) },
                else_branch = e () => (float[m] q) { q = Identity(x) }
            >
            y = ReduceSum(a)
        }""", tensor("mask", [1, 0, 1, 1, 0, 0], "bool")),
        ["Neg", "HostRegion"],
        X | {"w": X["x"] * 2, "c": np.array(True)},
    )  # fmt: skip


def test_no_way_out_for_a_dynamic_result() -> None:
    with pytest.raises(Exception, match=r'tensor "n" \(output of operator .*NonZero.* dynamic shape'):
        import_onnx(model("g (float[6] x) => (int64[1,u] y) { n = NonZero(x)  y = Neg(n) }"))
