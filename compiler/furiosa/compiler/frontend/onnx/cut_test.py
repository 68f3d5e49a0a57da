"""Cuts: what lies between the chosen ends is what the whole model computes there, whatever is cut off."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from furiosa.compiler.errors import CompileError, InvalidConfig, InvalidModel
from furiosa.compiler.frontend.onnx.importer import import_onnx, selected_model
from furiosa.compiler.frontend.onnx.testing import model, random_inputs, run, tensor
from furiosa.compiler.selection import Selection

# A detector: boxes and scores of a picture, then what is kept of them; "threshold" is only for the end.
DETECTOR = """
g (float[batch,4,H,W] image, float[1] threshold) => (int64[kept,3] found) {
    features = Relu(image)
    flat = Reshape(features, shape)
    boxes, rest = Split <axis = 2> (flat, parts)
    scores_ = Sigmoid(rest)
    scores = Transpose <perm = [0, 2, 1]> (scores_)
    found = NonMaxSuppression(boxes, scores, most, threshold)
}"""
CONSTANTS = (tensor("shape", [0, -1, 6]), tensor("parts", [4, 2]), tensor("most", [3]))


@pytest.fixture
def detector() -> bytes:
    return model(DETECTOR, *CONSTANTS)


def computed(data: bytes, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the whole model computes for these tensors."""
    proto = onnx.ModelProto.FromString(data)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    return run(proto.SerializeToString(), feed)


def names(values: list) -> list[str]:
    return [v.name for v in values]


def test_the_end_is_cut_off(detector: bytes) -> None:
    chosen = Selection({"image": (2, 4, 3, 6)}, outputs=("scores,boxes",))
    graph = import_onnx(detector, selection=chosen)
    assert names(graph.inputs) == ["image"]  # the threshold is not needed
    assert [(t.name, t.shape) for t in graph.outputs] == [("scores", (2, 2, 12)), ("boxes", (2, 12, 4))]
    assert graph.selection == Selection({"image": (2, 4, 3, 6)}, outputs=("scores", "boxes"))
    part = selected_model(detector, chosen)
    feed = random_inputs(graph.inputs, 0)
    whole = feed | {"threshold": np.zeros(1, np.float32)}
    for a, b in zip(run(part, feed), computed(detector, ["scores", "boxes"], whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_beginning_is_cut_off(detector: bytes) -> None:
    """The shapes of new inputs follow from what is said of the file's own, or are said themselves."""
    ends = {"inputs": ("flat",), "outputs": ("boxes", "scores")}
    by_image = import_onnx(detector, selection=Selection({"image": (1, 4, 3, 6)}, **ends))
    by_dims = import_onnx(detector, selection=Selection(dims={"H": 3, "W": 6}, **ends))
    directly = import_onnx(detector, selection=Selection({"flat": (1, 12, 6)}, **ends))
    for graph in (by_image, by_dims, directly):
        assert [(t.name, t.shape, t.dtype) for t in graph.inputs] == [("flat", (1, 12, 6), "float32")]
        assert graph.selection == Selection({"flat": (1, 12, 6)}, **ends)
        again = import_onnx(detector, selection=graph.selection)  # what an ENF records
        assert again.selection == graph.selection and names(again.operators) == names(graph.operators)
    flat = np.random.default_rng(0).standard_normal((1, 12, 6)).astype(np.float32)
    boxes, scores = run(selected_model(detector, directly.selection), {"flat": flat})
    np.testing.assert_array_equal(boxes, flat[..., :4])
    assert scores.shape == (1, 2, 12)


def test_what_is_cut_off_may_be_of_any_kind() -> None:
    """Unknown operators and types at both ends, also where only value_info says what a tensor is."""
    data = model(
        """
        g (seq(float[2]) s) => (string[k] y) <float[1,n] a> {
            a = strange.Decode(s)
            b = Relu(a)
            c = strange.Code(b)
            y = strange.Words(c)
        }""",
        strange=1,
    )
    with pytest.raises(InvalidModel, match="unknown operator Decode"):
        import_onnx(data)
    graph = import_onnx(data, selection=Selection({"a": (1, 5)}, inputs=("a",), outputs=("b",)))
    assert [(t.name, t.shape) for t in (*graph.inputs, *graph.outputs)] == [("a", (1, 5)), ("b", (1, 5))]
    with pytest.raises(InvalidModel, match='input "a" has the dynamic shape .1, n.: .* --dim n=?'):
        import_onnx(data, selection=Selection(inputs=("a",), outputs=("b",)))
    with pytest.raises(InvalidModel, match='the type of tensor "c" cannot be told'):
        import_onnx(data, selection=Selection(inputs=("c",), outputs=("c",)))


def test_a_node_that_stays_may_make_what_is_an_input_now(detector: bytes) -> None:
    """Of Split one result is given, the other computed."""
    chosen = Selection(
        {"image": (1, 4, 3, 6), "boxes": (1, 12, 4)}, inputs=("image", "boxes"), outputs=("boxes", "scores")
    )
    graph = import_onnx(detector, selection=chosen)
    feed = random_inputs(graph.inputs, 1)
    boxes, scores = run(selected_model(detector, chosen), feed)
    np.testing.assert_array_equal(boxes, feed["boxes"])
    whole = {"image": feed["image"], "threshold": np.zeros(1, np.float32)}
    np.testing.assert_array_equal(scores, computed(detector, ["scores"], whole)[0])


def test_a_constant_is_no_input(detector: bytes) -> None:
    for ends in ({"inputs": ("shape",)}, {"outputs": ("shape",)}):
        with pytest.raises(InvalidConfig, match="no tensor 'shape'"):
            import_onnx(detector, selection=Selection(**ends))


def test_naming_the_models_own_ends_cuts_nothing() -> None:
    data = model(
        "g (float[1,4] a, float[1,4] b) => (float[1,4] y, float[1,4] z) { y = Add(a, b) z = Relu(a) }"
    )
    plain = import_onnx(data)
    for chosen in (Selection(outputs=("y", "z")), Selection(inputs=("a", "b")), Selection({"a": (1, 4)})):
        assert import_onnx(data, selection=chosen).selection == plain.selection
        assert selected_model(data, chosen) == data
    swapped = import_onnx(data, selection=Selection(inputs=("b", "a"), outputs=("z,y",)))
    assert names(swapped.inputs) == ["b", "a"] and names(swapped.outputs) == ["z", "y"]
    # what the cut needs anyway is not said again
    assert import_onnx(data, selection=Selection(inputs=("a",), outputs=("z",))).selection == Selection(
        outputs=("z",)
    )


def test_subgraphs_read_what_is_outside() -> None:
    data = model(
        """
        g (float[1,4] x, bool c, float[1,4] other) => (float[1,4] y) {
            a = Relu(x)
            b = Neg(other)
            y = If (c) <
                then_branch = t () => (float[1,4] u) { u = Add(a, b) },
                else_branch = e () => (float[1,4] v) { v = Identity(a) }
            >
        }"""
    )
    graph = import_onnx(data, selection=Selection(inputs=("a", "c", "b")))
    assert names(graph.inputs) == ["a", "c", "b"]
    with pytest.raises(InvalidConfig, match="--inputs leaves out 'other', on which the outputs depend, too"):
        import_onnx(data, selection=Selection(inputs=("a", "c")))
    with pytest.raises(InvalidConfig, match="no tensor 'u'"):
        import_onnx(data, selection=Selection(outputs=("u",)))


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Selection(outputs=("box",)), "--outputs: the model has no tensor 'box'; did you mean 'boxes'"),
        (
            Selection(inputs=("features",)),
            "leaves out 'threshold', on which the outputs depend, too: name it as well",
        ),
        (Selection(inputs=("scores",), outputs=("boxes",)), "leaves out 'image'"),
        (
            Selection(inputs=("image", "scores"), outputs=("boxes",)),
            "--inputs: no output depends on 'scores'",
        ),
        (Selection(outputs=("boxes", "boxes")), "the tensor 'boxes' is named twice"),
        (
            Selection({"threshold": (1,)}, outputs=("boxes",)),
            "the model has no input 'threshold'; it has 'image'",
        ),
        (Selection(dims={"K": 1}, outputs=("boxes",)), "no open dimension 'K'; it has 'batch', 'H', 'W'"),
        (Selection({"image": (1, 4, 4, 3)}, {"H": 9}, outputs=("boxes",)), "contradicts --dim H=9"),
        (
            Selection({"image": (1, 4, 3, 6), "flat": (1, 13, 6)}, inputs=("flat",), outputs=("boxes",)),
            "flat=1x13x6 contradicts the model, in which dimension 1 is 12",
        ),
    ],
)
def test_ends_that_do_not_fit(detector: bytes, chosen: Selection, words: str) -> None:
    for call in (import_onnx, selected_model):
        with pytest.raises(InvalidConfig, match=words):
            call(detector, selection=chosen)


def test_what_cannot_be_handed_over_names_where_to_cut(detector: bytes) -> None:
    with pytest.raises(InvalidModel) as caught:
        import_onnx(detector, selection=Selection({"image": (1, 4, 3, 6)}))
    assert str(caught.value) == (
        'the output "found" has the dynamic shape [?, 3]: operator "found" (NonMaxSuppression) makes "found", whose shape '
        'depends on values; end the model before it: --outputs boxes,scores (Bazel and compile_config: outputs = ["boxes", "scores"])'
    )
    proposed = Selection({"image": (1, 4, 3, 6)}, outputs=("boxes,scores",))
    assert names(import_onnx(detector, selection=proposed).outputs) == ["boxes", "scores"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # what is there already stays, and names of any kind are quoted
        (
            "g (float[1,4] x) => (float[1,4] y, int64[2,n] z) { y = Relu(x) b = Neg(y) z = NonZero(b) }",
            (
                '"z" has the dynamic shape [2, ?]: operator "z" (NonZero) makes "z", whose shape depends on values; '
                "end the model before it: --outputs y,b ("
            ),
        ),
        # the operator that is the reason, not the one that is last
        (
            "g (float[1,4] x) => (float[n] z) { a = Abs(x) i = NonZero(a) t = Transpose(i) u = GatherND(a, t) z = Exp(u) }",
            'operator "i" (NonZero) makes "i", whose shape depends on values; end the model before it: --outputs a (',
        ),
        # classifiers that end in a list of dictionaries
        (
            """g (float[1,4] x) => (seq(map(int64,float)) z) {
                 p = Softmax(x)
                 z = ai.onnx.ml.ZipMap <classlabels_int64s = [1, 2, 3, 4]> (p)
               }""",
            (
                'the output "z" is of type sequence, but only dense numbers of NumPy\'s types can be handed over: keep it inside of '
                "the model's operators; end the model before it: --outputs p ("
            ),
        ),
        # there is nothing before it
        ("g (float[1,4] x) => (int64[2,n] z) { z = NonZero(x) }", "whose shape depends on values"),
    ],
)
def test_proposed_cuts(text: str, words: str) -> None:
    data = model(text, **({"ai_onnx_ml": 3} if "ZipMap" in text else {}))
    with pytest.raises(CompileError) as caught:
        import_onnx(data)
    assert words in str(caught.value)
    assert ("--outputs" in words) == ("--outputs" in str(caught.value))
