"""The clean model computes what the model computes."""

from __future__ import annotations

import numpy as np
import pytest

from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx.testing import model, run, tensor
from furiosa.compiler.selection import selection
from furiosa.quantizer.graph.load import load, model_of
from furiosa.quantizer.testing import network, samples

RNG = np.random.default_rng(3)


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CONV = "g (float[2,3,5,5] x) => (float y) {{ c = Conv<pads=[1,1,1,1]>(x, w{bias}) {rest} }}"
CONSTANTS = {
    "w": drawn(4, 3, 3, 3),
    "b": drawn(4),
    "v": np.abs(drawn(4)) + 0.5,
    "k": drawn(4, 1, 1) + 2,
    "one": np.float32(1.5),
    "row": drawn(5),
}


def kinds(data: bytes) -> list[str]:
    return [op.op_type for op in load(data).operators]


def check(data: bytes, feed: dict[str, np.ndarray] | None = None) -> list[str]:
    """Compares results in onnxruntime before and after, and returns the clean model's operators."""
    graph = load(data)
    feed = feed or samples(data, 1)[0].arrays
    for a, b in zip(run(data, feed), run(model_of(graph), feed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    return [op.op_type for op in graph.operators]


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(
    "rest",
    [
        "y = BatchNormalization(c, v, b, b, v)",
        "y = Add(c, k)",
        "y = Sub(k, c)",
        "y = Sub(c, one)",
        "y = Mul(k, c)",
        "y = Div(c, k)",
        "m = Mul(c, k) a = Add(m, k) y = BatchNormalization<epsilon=0.1>(a, v, b, b, v)",
    ],
)
def test_what_follows_a_convolution_goes_into_its_constants(bias: str, rest: str):
    used = {n: v for n, v in CONSTANTS.items() if n in (CONV.format(bias=bias, rest=rest))}
    data = model(CONV.format(bias=bias, rest=rest), *(tensor(n, v) for n, v in used.items()))
    assert check(data) == ["Conv"]


@pytest.mark.parametrize(
    "rest",
    [
        "y = Add(c, row)",  # along the width
        "y = Add(c, c)",
        "y = Div(one, c)",
        "a = Add(c, k) y = Mul(a, c)",  # somebody else reads it
    ],
)
def test_what_does_not_scale_channels_stays(rest: str):
    used = {n: v for n, v in CONSTANTS.items() if n in CONV.format(bias="", rest=rest)}
    assert len(check(model(CONV.format(bias="", rest=rest), *(tensor(n, v) for n, v in used.items())))) > 1


def test_an_output_of_the_model_stays():
    text = CONV.format(bias="", rest="y = Add(c, k)").replace("(float y)", "(float y, float c)")
    assert check(model(text, tensor("w", CONSTANTS["w"]), tensor("k", CONSTANTS["k"]))) == ["Conv", "Add"]


def test_transposed_convolutions_and_dense_layers():
    text = "g (float[1,3,4,4] x) => (float y) { c = ConvTranspose(x, w) a = Add(c, k) y = BatchNormalization(a, v, b, b, v) }"
    names = {"w": drawn(3, 4, 2, 2), "k": CONSTANTS["k"], "v": CONSTANTS["v"], "b": CONSTANTS["b"]}
    assert check(model(text, *(tensor(n, v) for n, v in names.items()))) == ["ConvTranspose"]
    text = "g (float[3,6] x) => (float y) { c = Gemm(x, w) y = Add(c, b) }"
    assert check(model(text, tensor("w", drawn(6, 4)), tensor("b", drawn(4)))) == ["Gemm"]


def test_weights_that_are_computed_become_constants():
    text = """g (float[1,3,5,5] x) => (float y) {
        t = Transpose<perm=[3,2,0,1]>(w) s = Mul(t, one) y = Conv(x, s) }"""
    data = model(text, tensor("w", drawn(3, 3, 3, 4).transpose(0, 1, 2, 3)), tensor("one", CONSTANTS["one"]))
    assert check(data) == ["Conv"]


def test_random_numbers_do_not_become_constants():
    text = "g (float[4] x) => (float[4] y) { r = RandomNormalLike(w) y = Add(x, r) }"
    assert "RandomNormalLike" in kinds(model(text, tensor("w", drawn(4))))


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 12])
def test_older_operator_sets_become_one_that_knows_channels(opset: int):
    text = """g (float[1,3,5,5] x) => (float[1,4] y) {
        c = Conv(x, w, b) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = Softmax(f) }"""
    data = model(text, tensor("w", CONSTANTS["w"]), tensor("b", CONSTANTS["b"]), opset=opset)
    assert check(data)[:3] == ["Conv", "Relu", "GlobalAveragePool"]
    assert load(data).source.opsets[""] >= 13


def test_open_dimensions_take_the_sizes_of_compiling():
    data = model("g (float[N,3,H,5] x) => (float y) { y = Relu(x) }")
    graph = load(data, selection=selection({"x": "2x3x4x5"}))
    assert graph.inputs[0].shape == (2, 3, 4, 5)
    with pytest.raises(InvalidModel, match="--input-shape x="):
        load(data)


def test_the_whole_network_stays_the_same():
    assert "BatchNormalization" not in check(network())


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "float TFLite models cannot be quantised"),
        (model("g (int64[4] x) => (int64[4] y) { y = Add(x, x) }"), "no operator of the model makes float32"),
        (
            model(
                "g (float[4] x) => (uint8[4] y) { y = QuantizeLinear(x, s) }",
                tensor("s", np.float32(1)),
            ),
            "the model is quantised already",
        ),
    ],
)
def test_what_cannot_be_quantised(data: bytes, sentence: str):
    with pytest.raises(InvalidModel, match=sentence):
        load(data)


def test_half_precision_becomes_single():
    """Whole in float16, as converters write it: with a Cast at both ends, or with float16 there too."""
    inside = "c = Conv(h, w, b) r = Relu(c) g = GlobalAveragePool(r) f = Flatten(g)"
    constants = [tensor("w", CONSTANTS["w"], np.float16), tensor("b", CONSTANTS["b"], np.float16)]
    cast = f"g (float[1,3,5,5] x) => (float[1,4] y) {{ h = Cast<to=10>(x) {inside} y = Cast<to=1>(f) }}"
    whole = f"g (float16[1,3,5,5] h) => (float16[1,4] f) {{ {inside} }}"
    results = []
    for text in (cast, whole):
        data = model(text, *constants)
        graph = load(data)
        assert [op.op_type for op in graph.operators] == ["Conv", "Relu", "GlobalAveragePool", "Flatten"]
        assert [t.name for t in graph.outputs] == ["y" if text is cast else "f"]
        x = np.random.default_rng(0).standard_normal((1, 3, 5, 5)).astype(np.float32)
        (got,) = run(model_of(graph), {graph.inputs[0].name: x})
        (half,) = run(data, {graph.inputs[0].name: x.astype(np.float16 if text is whole else np.float32)})
        np.testing.assert_allclose(got, half.astype(np.float32), rtol=2e-2, atol=2e-2)
        assert got.dtype == np.float32
        results.append(got)
    np.testing.assert_array_equal(*results)


def test_half_precision_in_a_branch_is_told():
    text = """g (float16[4] x, bool c) => (float16[4] y) {
        y = If(c) <then_branch = t () => (float16[4] a) { a = Add(x, x) }, else_branch = e () => (float16[4] b) { b = Sub(x, x) }>
    }"""
    with pytest.raises(InvalidModel, match="the model is of float16 and has If 'y'"):
        load(model(text))


def test_casts_that_are_outputs_twice():
    text = """g (float16[4] x) => (float[4] y, float[4] z, float[4] i) {
        r = Relu(x) y = Cast<to=1>(r) z = Cast<to=1>(r) i = Cast<to=1>(x) }"""
    graph = load(model(text))
    assert [t.name for t in graph.outputs] == ["y", "z", "i"]
    x = np.array([-1, 0, 1, 2], np.float32)
    y, z, i = run(model_of(graph), {"x": x})
    assert y.tolist() == z.tolist() == [0, 0, 1, 2] and i.tolist() == x.tolist()
