"""The quantised model: it runs, it is near to float, and the NPU takes all of it that it can."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from furiosa.compiler import quantizable
from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.frontend.onnx.testing import model, run, tensor
from furiosa.quantizer.calibrate.methods import METHODS
from furiosa.quantizer.calibrate.ranges import calibrate
from furiosa.quantizer.graph.load import load
from furiosa.quantizer.int8 import Quantized, quantize
from furiosa.quantizer.samples import Sample
from furiosa.quantizer.testing import network, samples, signal_to_noise

RNG = np.random.default_rng(4)


def quantized(data: bytes, count: int = 8, *, outlier: float | None = 12, **options: object) -> Quantized:
    graph = load(data)
    made = quantize(graph, calibrate(graph, samples(data, count, outlier=outlier)), **options)
    onnx.checker.check_model(made.model, full_check=True)
    return made


def decibels(data: bytes, made: Quantized, *, outlier: float | None = 12) -> float:
    """Of all outputs, against the float model, on other samples than those of calibration."""
    pairs = [
        (run(data, s.arrays), run(made.model, s.arrays)) for s in samples(data, 8, seed=7, outlier=outlier)
    ]
    return signal_to_noise([a for x, _ in pairs for a in x], [b for _, y in pairs for b in y])


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_model_that_the_npu_takes(method: str):
    data = network()
    made = quantized(data, method=method)
    assert quantizable.host_operators(made.model) == {}
    # what an entropy or a percentile clips, the outliers of these samples, they lose
    assert decibels(data, made) > 15


def test_the_same_bytes_each_time():
    assert quantized(network()).model == quantized(network()).model


def parts(made: Quantized) -> tuple[dict[str, np.ndarray], dict[str, onnx.NodeProto]]:
    """Constants by name, and the operator that makes each tensor."""
    graph = onnx.ModelProto.FromString(made.model).graph
    return {t.name: numpy_helper.to_array(t) for t in graph.initializer}, {n.output[0]: n for n in graph.node}


def test_the_scheme():
    made = quantized(network())
    constants, makers = parts(made)
    weight = makers[next(n for n in makers.values() if n.op_type == "Conv").input[1]]
    bias = makers[next(n for n in makers.values() if n.op_type == "Conv").input[2]]
    w, scale, zero = (constants[n] for n in weight.input)
    assert w.dtype == np.int8 and w.min() >= -127 and scale.shape == (8,) and not zero.any()
    assert [a.i for a in weight.attribute if a.name == "axis"] == [0]
    b, bias_scale, _ = (constants[n] for n in bias.input)
    x_scale = constants[makers[next(n for n in makers.values() if n.op_type == "Conv").input[0]].input[1]]
    assert b.dtype == np.int32 and np.array_equal(bias_scale, x_scale * scale)
    y_scale, y_zero = (constants[n] for n in makers["y"].input[1:])
    assert (y_scale, y_zero) == (np.float32(1 / 256), -128)
    # Flatten and MaxPool share the numbers of what they move
    assert constants[makers["f1"].input[1]] == constants[makers["g1"].input[1]]
    # SiLU is one operator: what lies between its parts is not quantised
    assert "s1/int8" not in makers and "m1" in makers and makers["m1"].op_type == "DequantizeLinear"


@pytest.mark.parametrize(
    "text, constants",
    [
        ("y = MatMul(x, w)", {"w": drawn(8, 6)}),
        ("m = MatMul(x, w) y = Add(m, b)", {"w": drawn(8, 6), "b": drawn(6)}),
        ("m = MatMul(x, w) a = Add(b, m) y = Relu(a)", {"w": drawn(8, 6), "b": drawn(6)}),
        ("y = Gemm<alpha=0.5>(x, w, b)", {"w": drawn(8, 6), "b": drawn(6)}),
        ("t = Transpose(x) y = MatMul(x, t)", {}),
        ("y = Add(x, k)", {"k": drawn(4, 8)}),
        ("y = Mul(x, k)", {"k": drawn(8)}),
        ("y = Sub(k, x)", {"k": np.float32(3)}),
        ("y = Div(x, k)", {"k": np.float32(3)}),
        ("e = Erf(x) o = Add(e, k) y = Mul(x, o)", {"k": np.float32(1)}),
        ("a = Sigmoid(x) b = Tanh(x) y = Mul(a, b)", {}),
        ("y = LayerNormalization(x, g, b)", {"g": drawn(8), "b": drawn(8)}),
        ("y = Concat<axis=1>(x, x)", {}),
        ("y = Transpose(x)", {}),
        ("s = Softplus(x) r = Sqrt(s) y = Log(r)", {}),
        ("y = HardSwish(x)", {}),
        ("a, b = Split<axis=1, num_outputs=2>(x) y = Mul(a, b)", {}),
        ("y = ReduceMean<keepdims=1>(x, d)", {"d": np.array([1])}),
        ("c = Clip(x, k) y = Add(c, x)", {"k": np.float32(0)}),
    ],
)
def test_operators(text: str, constants: dict[str, np.ndarray]):
    used = [tensor(n, v) for n, v in constants.items()]
    data = model(f"g (float[4,8] x) => (float y) {{ {text} }}", *used, opset=18)
    made = quantized(data, 32, outlier=None)
    assert quantizable.host_operators(made.model) == {}
    assert made.plan.reasons == {}
    assert decibels(data, made, outlier=None) > 25


def test_what_the_npu_does_not_take_stays_in_float_with_the_reason():
    text = "g (float[1,4,6,6] x) => (float y) { c = Conv(x, w) s = Cos(c) y = Relu(s) }"
    data = model(text, tensor("w", drawn(4, 4, 3, 3)), opset=17)
    made = quantized(data, outlier=None)
    assert [(op.op_type, [r.rule for r in reasons]) for op, reasons in made.plan.reasons.items()] == [
        ("Cos", ["operator-table"])
    ]
    assert left(made) == {op.name for op in made.plan.reasons}
    assert decibels(data, made, outlier=None) > 15


def test_integers_and_branches_are_left_alone():
    text = """g (float[4,8] x, int64[4] i) => (float[4,8] y, int64[4] j) {
        j = Add(i, i)
        r = Relu(x)
        p = ReduceMax<keepdims=0>(x)
        c = Greater(p, p)
        y = If(c) <then_branch = t () => (float[4,8] a) { a = Add(r, r) }, else_branch = e () => (float[4,8] b) { b = Sub(r, r) }>
    }"""
    data = model(text, opset=17)
    graph = load(data)
    feeds = [{"x": drawn(4, 8), "i": np.arange(4)} for _ in range(4)]
    made = quantize(graph, calibrate(graph, [Sample("", feed) for feed in feeds]))
    for feed in feeds:
        (y, j), (y_q, j_q) = run(data, feed), run(made.model, feed)
        assert np.array_equal(j, j_q)
        np.testing.assert_allclose(y, y_q, atol=0.05)


def left(made: Quantized) -> set[str]:
    """The operators of the float model that run on the host."""
    names = {op.name for op in made.plan.graph.operators}
    return names & quantizable.host_operators(made.model).keys()


def test_exclusions():
    by_type = quantized(network(), exclude=["Softmax", "Gemm"])
    assert {op.op_type for op in by_type.plan.excluded} == {"Softmax", "Gemm"}
    assert left(by_type) == {op.name for op in by_type.plan.excluded}
    inside = next(op for op in load(network()).operators if op.op_type == "Gemm")
    by_name = quantized(network(), exclude=[inside.name])
    assert left(by_name) == {inside.name}
    with pytest.raises(
        InvalidConfig,
        match="--exclude: the model has no operator or type of operators 'Sofmax'; did you mean 'Softmax'",
    ):
        quantized(network(), exclude=["Sofmax"])


def test_dead_filters_and_heavy_biases():
    """A filter of nearly nothing is zero; its bias survives, for the filter's scale is such that int32 holds it."""
    weight, bias = drawn(4, 3, 1, 1), drawn(4)
    weight[1], weight[2] = 1e-20, 1e-9
    bias[1], bias[2] = 5, -7
    data = model(
        "g (float[1,3,4,4] x) => (float y) { y = Conv(x, w, b) }", tensor("w", weight), tensor("b", bias)
    )
    made = quantized(data)
    assert quantizable.host_operators(made.model) == {}
    assert decibels(data, made) > 30
    constants, _ = parts(made)
    assert all(np.all(v >= 2.0**-126) for n, v in constants.items() if n.endswith("scale"))


def test_a_shared_bias_gets_a_scale_for_each_reader():
    text = "g (float[1,3,4,4] x) => (float y, float z) { y = Conv(x, w, b) c = Conv(y, v, b) z = Relu(c) }"
    data = model(
        text,
        *(
            tensor(n, v)
            for n, v in {"w": drawn(4, 3, 1, 1), "v": drawn(4, 4, 1, 1) * 9, "b": drawn(4)}.items()
        ),
    )
    made = quantized(data)
    assert quantizable.host_operators(made.model) == {}
    assert decibels(data, made) > 20


def test_a_calibration_of_another_model_is_told():
    graph, other = load(network(1)), load(network(2))
    with pytest.raises(InvalidConfig, match="the calibration is of another model"):
        quantize(graph, calibrate(other, samples(network(2), 1)))


@pytest.mark.parametrize(
    "options", [{"method": "best"}, {"percentage": 0}, {"percentage": 101}, {"percentage": float("nan")}]
)
def test_options_that_are_none(options: dict[str, object]):
    with pytest.raises(InvalidConfig):
        quantized(network(), 1, **options)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_inputs_and_outputs_that_are_integers(kind: str):
    """They hold what the float ones hold, by the scale and zero point of the tensor."""
    data = network()
    plain, typed = quantized(data), quantized(data, types={"x": kind, "y": kind})
    assert quantizable.host_operators(typed.model) == {}
    by = {t.name: a for t, a in typed.plan.affines().items()}
    shift = 128 if kind == "uint8" else 0
    for sample in samples(data, 4, seed=3):
        x = np.rint(sample.arrays["x"] / by["x"].scale) + by["x"].zero_point
        x = np.clip(x, -128, 127)
        (y,) = run(typed.model, {"x": (x + shift).astype(kind)})
        (expected,) = run(plain.model, sample.arrays)
        assert y.dtype == kind
        real = (y.astype(np.float32) - shift - by["y"].zero_point) * by["y"].scale
        np.testing.assert_array_equal(real, expected)


def test_types_that_cannot_be():
    with pytest.raises(InvalidConfig, match="type: the model has no input or output 'z'"):
        quantized(network(), types={"z": "int8"})
    with pytest.raises(
        InvalidConfig, match="type: 'y' cannot be int8, for what makes or reads it stays in float"
    ):
        quantized(network(), exclude=["Softmax"], types={"y": "int8"})


HEADS = """g (float[1,4,6,6] x) => (float y) {{
    a = Conv(x, w) b = Mul(a, large) s = Conv(x, v) p = Sigmoid(s)
    c = Concat<axis=1>(b, p) {rest} }}"""


def heads(rest: str, large: float) -> bytes:
    constants = {
        "w": drawn(4, 4, 1, 1),
        "v": drawn(2, 4, 1, 1),
        "large": np.float32(large),
        "shape": np.array([1, 6, 36]),
    }
    return model(HEADS.format(rest=rest), *(tensor(n, v) for n, v in constants.items() if n in HEADS + rest))


def test_scores_beside_boxes_keep_their_scale():
    data = heads("r = Reshape(c, shape) y = Transpose<perm=[0,2,1]>(r)", 300)
    made = quantized(data, outlier=None)
    kept = {op.op_type for op in made.plan.unlike}
    assert kept == {"Concat", "Reshape", "Transpose"} and left(made) == {op.name for op in made.plan.unlike}
    assert "which one scale would ruin" in next(iter(made.plan.unlike.values()))
    for sample in samples(data, 4, seed=5, outlier=None):
        (expected,), (got,) = run(data, sample.arrays), run(made.model, sample.arrays)
        assert (
            np.abs(expected - got)[..., 4:].max() < 0.05
        )  # scores, of which one scale would leave steps of 8


def test_like_quantities_are_joined_on_the_npu():
    for rest, large in (("y = Relu(c)", 300), ("y = Transpose<perm=[0,2,3,1]>(c)", 1)):
        made = quantized(heads(rest, large), outlier=None)
        assert made.plan.unlike == {} and left(made) == set()
