"""Regions of unknown shapes: what is enclosed, what stays outside, and that the result is onnxruntime's."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest

from furiosa.compiler.errors import InvalidModel
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
    with pytest.raises(Exception, match=r'"n" \(NonZero\) makes "n", whose shape depends on values'):
        import_onnx(model("g (float[6] x) => (int64[1,u] y) { n = NonZero(x)  y = Neg(n) }"))


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ("n = NonZero(x)  a = Neg(b)  b = Neg(n)  c = Add(a, b)", "contradict each other"),
        ("a = Neg(b)  b = Neg(a)  n = NonZero(x)  c = Add(n, b)", 'reads tensor "b" before anything'),
        ("n = NonZero(x)  b = Neg(n)  b = Neg(n)  c = Add(n, b)", 'tensor "b" is defined twice'),
        ("n = NonZero(x)  one = Neg(n)  c = Add(n, one)", 'tensor "one" is defined twice'),
        ("n = NonZero(x)  b = Neg(gone)  c = Add(n, b)", 'reads tensor "gone" before anything'),
        (
            "e = Expand(x, huge)  h = Cast<to = 7>(e)  n = NonZero(x)  c = Add(n, h)",
            "would take 4000000000000 bytes",
        ),
    ],
)
def test_what_is_wrong_inside(nodes: str, sentence: str) -> None:
    text = f"g (float[1] x) => (int64[1] y) {{ {nodes}  s = ReduceSum(c)  y = Reshape(s, one) }}"
    with pytest.raises(InvalidModel, match=sentence):
        import_onnx(model(text, tensor("one", [1], "int64"), tensor("huge", [10**12], "int64")))


def test_many_regions_take_time_in_proportion() -> None:
    """2000 regions between 4000 other operators."""
    chain = ["v0 = Neg(x)"]
    for i in range(2000):
        chain.append(
            f"n{i} = NonZero(v{i})  s{i} = Shape(n{i})  f{i} = Cast<to = 1>(s{i})  v{i + 1} = Neg(f{i})"
        )
    data = model(f"g (float[2] x) => (float[2] v2000) {{ {'  '.join(chain)} }}")
    began = time.perf_counter()
    graph = import_onnx(data)
    assert [op.op_type for op in graph.operators[:4]] == ["Neg", "HostRegion", "Cast", "Neg"]
    assert time.perf_counter() - began < 30
