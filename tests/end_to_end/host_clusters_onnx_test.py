"""Whatever an ONNX model holds besides NPU operators runs on the host: the whole model equals onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.testing import model, tensor
from furiosa.compiler.pipeline import Compilation, Options, compile_model
from furiosa.enf import container
from furiosa.runtime import session

S, Z = tensor("s", 0.05, "float32"), tensor("z", 0, "int8")
W = tensor("w", np.random.default_rng(0).integers(-9, 9, (4, 4, 1, 1)), "int8")
X4 = np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)
X = np.array([[3, 0, -1, 0.5]], np.float32)


def conv(x: str, y: str) -> str:
    """A quantised convolution (constants s, z, w) from float tensor to float tensor: a cluster on the NPU."""
    return f"""{y}_q = QuantizeLinear({x}, s, z)  {y}_a = DequantizeLinear({y}_q, s, z)
        {y}_w = DequantizeLinear(w, s, z)  {y}_c = Conv({y}_a, {y}_w)
        {y}_r = QuantizeLinear({y}_c, s, z)  {y} = DequantizeLinear({y}_r, s, z)"""


def check(data: bytes, inputs: Mapping[str, np.ndarray], steps: str = "", target: str = "warboy-2pe") -> None:
    """Compiles and runs a model, and compares every output with onnxruntime, bit for bit.

    Args:
        steps: what the plan must be: "h" for a host cluster, "n" for commands on the NPU; empty for anything.
    """
    compilation = Compilation(data, Options(target)).run()
    if steps:
        assert "".join(type(step).__name__[0].lower() for step in compilation.steps) == steps
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    reference = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    expected = reference.run(None, dict(inputs))
    with session.create(container.to_bytes(compilation.enf)) as sess:
        assert [d.name for d in sess.outputs()] == [o.name for o in reference.get_outputs()]
        actual = sess.run([inputs[d.name] for d in sess.inputs()]).numpy()
    for a, e in zip(actual, expected, strict=True):
        assert (a.dtype, a.shape) == (e.dtype, e.shape)
        np.testing.assert_array_equal(a, e)


# Control flow and functions


def test_if_between_npu_clusters() -> None:
    text = f"""g (bool p, float[1,4,8,8] x) => (float[1,4,8,8] y) {{
        {conv("x", "a")}
        b = If(p) <
            then_branch = t () => (float[1,4,8,8] u) {{ u = Sin(a) }},
            else_branch = e () => (float[1,4,8,8] v) {{ v = Add(a, x) }}
        >
        {conv("b", "y")}
    }}"""
    for condition in (True, False):
        check(model(text, S, Z, W), {"p": np.array(condition), "x": X4})


def test_loop() -> None:
    check(
        model(
            """g (int64 n, float[1,4] x) => (float[1,4] y, float[3,1,4] all) {
                y, all = Loop(n, , x) <body = b (int64 i, bool c, float[1,4] v) => (bool d, float[1,4] w, float[1,4] o) {
                    d = Identity(c)  w = Add(v, x)  o = Neg(w)
                }>
            }"""
        ),
        {"n": np.array(3), "x": X},
    )


def test_scan() -> None:
    check(
        model(
            """g (float[1,4] x, float[5,1,4] r) => (float[1,4] y, float[5,1,4] all) {
                y, all = Scan<num_scan_inputs = 1, body = b (float[1,4] v, float[1,4] e) => (float[1,4] w, float[1,4] o) {
                    w = Add(v, e)  o = Mul(w, e)
                }>(x, r)
            }"""
        ),
        {"x": X, "r": np.arange(20, dtype=np.float32).reshape(5, 1, 4)},
    )


def test_functions_of_the_model() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[1,4] x) => (float[1,4] y) { a = own.twice(x)  y = own.twice<k = 3.0>(a) }
        <domain: "own", opset_import: ["": 17, "own": 1]> twice <k: float = 2.0> (v) => (w) {
            c = Constant<value_float: float = @k>()  m = Mul(v, c)  w = own.plus(m)
        }
        <domain: "own", opset_import: ["": 17]> plus (v) => (w) { w = Add(v, v) }"""
    check(onnx.parser.parse_model(text).SerializeToString(), {"x": X}, "h")


# Several clusters, inputs and outputs


@pytest.mark.parametrize("target", ["warboy", "warboy-2pe"])
def test_clusters_in_a_row(target: str) -> None:
    text = f"""g (float[1,4,8,8] x, float[1,4,8,8] k) => (float[1,4,8,8] y, float[1,4,8,8] b, float[1,4,8,8] d) {{
        {conv("x", "a")}  b = Sin(a)  {conv("b", "c")}  d = Atan(c)  {conv("d", "e")}  y = Add(e, k)
    }}"""
    check(model(text, S, Z, W), {"x": X4, "k": X4[..., ::-1].copy()}, "nhnhnh", target)


ACROSS = {  # what ONNX calls the type that crosses the NPU's cluster, from one host cluster to another
    "int64": 7, "bool": 9, "float16": 10, "float64": 11, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6,
    "uint32": 12, "uint64": 13, "bfloat16": 16, "float8e4m3fn": 17, "float8e4m3fnuz": 18, "float8e5m2": 19,
    "float8e5m2fnuz": 20, "uint4": 21, "int4": 22,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ACROSS)
def test_types_between_clusters(dtype: str) -> None:
    """Whether a tensor that was made before an NPU cluster is used depends on what the NPU computes."""
    text = f"""g (float[1,4,8,8] x) => (float[1,4,8,8] y) {{
        p = Abs(x)  t = Cast<to = {ACROSS[dtype]}>(p)  b = Sin(x)
        {conv("b", "c")}
        m = ReduceMax<keepdims = 0>(c)  f = Greater(m, limit)
        y = If(f) <
            then_branch = o () => (float[1,4,8,8] u) {{ u = Cast<to = 1>(t) }},
            else_branch = e () => (float[1,4,8,8] v) {{ v = Neg(c) }}
        >
    }}"""
    for limit in (-1e9, 1e9):
        constants = (S, Z, W, tensor("limit", limit, "float32"))
        check(model(text, *constants, opset=21, ir=10), {"x": X4}, "hnh")


NUMPY = {
    "bool": "bool", "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64", "uint8": "uint8",
    "uint16": "uint16", "uint32": "uint32", "uint64": "uint64", "float16": "float16", "double": "float64", "float": "float32",
}  # fmt: skip


@pytest.mark.parametrize("dtype", NUMPY)
def test_types_at_the_interface(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (2, 3)).astype(NUMPY[dtype])
    text = f"g ({dtype}[2,3] x) => ({dtype}[3,2] y, {dtype}[2,3] z) {{ y = Transpose(x)  z = Identity(x) }}"
    check(model(text), {"x": x})


def test_values_that_are_no_tensors_stay_inside() -> None:
    """A sequence and strings, made before an NPU cluster and used after it."""
    text = f"""g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,8,8,8] v) {{
        q = SequenceConstruct(x, x)  t = Cast<to = 8>(one)  b = Sin(x)
        {conv("b", "c")}
        v = ConcatFromSequence<axis = 1>(q)  u = Cast<to = 1>(t)  y = Add(c, u)
    }}"""
    check(model(text, S, Z, W, tensor("one", 1.5, "float32")), {"x": X4})


# The ends of a model


def test_optional_inputs_that_are_left_out() -> None:
    text = """g (float[1,4] x, float[1,1,4,4] i) => (float[1,4] y, float[1,1,8,8] z, float[1,4] d) {
        y = Clip(x, , high)  z = Resize<mode = "nearest">(i, , scales)  d, _ = Dropout(x)
    }""".replace("d, _ = Dropout(x)", "d = Dropout(x)")
    data = model(text, tensor("high", 0.25, "float32"), tensor("scales", [1, 1, 2, 2], "float32"))
    check(data, {"x": X, "i": X4[:, :1, :4, :4].copy()})


def test_initialisers_listed_as_inputs() -> None:
    data = model(
        "g (float[1,4] x, float[1,4] k) => (float[1,4] y) { y = Sub(x, k) }", tensor("k", X * 3), ir=3
    )
    check(data, {"x": X}, "h")


def test_only_host_work() -> None:
    check(model("g (float[1,4] x) => (float[1,4] y) { a = Sin(x)  y = Softmax(a) }"), {"x": X}, "h")


def test_an_input_is_an_output() -> None:
    check(
        model("g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Identity(x)  z = Identity(x) }"),
        {"x": X},
    )
    check(
        model("g (float[1,4] x, float[1,4] v) => (float[1,4] x, float[1,4] y) { y = Sin(v) }"),
        {"x": X, "v": X},
    )


def test_a_constant_is_an_output() -> None:
    k = tensor("k", [[1, 2], [3, 4]], "int64")
    check(model("g (float[1,4] x) => (float[1,4] y, int64[2,2] k) { y = Sin(x) }", k), {"x": X})
    text = """g (float[1,4] x) => (int64[2,2] y, float[2] z, float[1,4] x1) {
        y = Identity(k)  z = Constant<value_floats = [1.0, 2.0]>()  x1 = Identity(x)
    }"""
    check(model(text, k), {"x": X})


def test_a_tensor_is_output_twice() -> None:
    text = f"""g (float[1,4,8,8] x) => (float[1,4,8,8] a, float[1,4,8,8] y, float[1,4,8,8] v) {{
        {conv("x", "a")}  y = Identity(a)  v = Identity(a)
    }}"""
    check(model(text, S, Z, W), {"x": X4})


def test_names_that_repeat_and_names_that_are_missing() -> None:
    proto = onnx.ModelProto.FromString(
        model("g (float[1,4] x) => (float[1,4] y) { a = Sin(x)  b = Sin(a)  c = Neg(b)  y = Neg(c) }")
    )
    for node, name in zip(proto.graph.node, ("n", "m", "", "y"), strict=True):
        node.name = name
    check(proto.SerializeToString(), {"x": X})
    with session.create(compile_model(proto.SerializeToString())) as sess:
        expected = sess.run(X)
    proto.graph.node[1].name = "n"  # onnxruntime would refuse it
    with session.create(compile_model(proto.SerializeToString())) as sess:
        np.testing.assert_array_equal(sess.run(X)[0].numpy(), expected[0].numpy())


def test_unused_inputs() -> None:
    text = "g (float[1,4] u, float[1,4] x, int64[0] e) => (float[1,4] y) { y = Sin(x)  n = Neg(u) }"
    check(model(text), {"u": X, "x": X * 2, "e": np.zeros(0, np.int64)})


def test_shapes_through_a_model() -> None:
    """Scalars, six dimensions, and a dimension of 0 from an operator on."""
    text = """g (float x, float[1,2,1,2,1,2] r, float[3,4] v) => (float y, float[2,1,2,1,2,1] t, float[0,4] e) {
        y = Exp(x)  t = Transpose<perm = [5,4,3,2,1,0]>(r)  e = Slice(v, i, i)
    }"""
    inputs = {
        "x": np.array(0.5, np.float32),
        "r": np.arange(8, dtype=np.float32).reshape(1, 2, 1, 2, 1, 2),
        "v": np.ones((3, 4), np.float32),
    }
    check(model(text, tensor("i", [1], "int64")), inputs)


# What is refused


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("g (float[2] x) => (float[2] y) { y = own.Op(x) }", 'unknown operator Op of domain "own"'),
        (
            "g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }",
            'output "y" is of type sequence',
        ),
        ("g (string[2] x) => (float[2] y) { y = Cast<to = 1>(x) }", 'input "x" is of type string'),
        ("g (bfloat16[2] x) => (float[2] y) { y = Cast<to = 1>(x) }", 'input "x" is of type bfloat16'),
        ("g (float[2] x) => (bfloat16[2] y) { y = Cast<to = 16>(x) }", 'output "y" is of type bfloat16'),
        ("g (float[2,w] x) => (float[2,w] y) { y = Neg(x) }", r'input "x" .*w.*: dimension 1 is open'),
    ],
)
def test_refused(text: str, sentence: str) -> None:
    with pytest.raises(InvalidModel, match=sentence) as caught:
        Compilation(model(text, own=1), Options()).run()
    assert caught.value.code == 5
