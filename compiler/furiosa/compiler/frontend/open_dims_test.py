"""Sizes of open dimensions: what is given, what follows from it, what is asked for."""

from __future__ import annotations

import pytest

from furiosa.compiler.errors import InvalidConfig, InvalidModel
from furiosa.compiler.frontend.open_dims import fix
from furiosa.compiler.selection import Selection

IMAGES = {"images": ["batch", 3, "height", "width"]}
TOKENS = {"ids": ["batch", "sequence"], "mask": ["batch", "sequence"], "positions": [1, "sequence"]}


@pytest.mark.parametrize(
    ("declared", "chosen", "shapes"),
    [
        ({"x": [1, 3], "s": []}, Selection(), {"x": (1, 3), "s": ()}),
        ({"x": ["N", 3]}, Selection(), {"x": (1, 3)}),
        ({"x": [None, 3]}, Selection(), {"x": (1, 3)}),
        ({"x": ["N", 3]}, Selection(dims={"N": 5}), {"x": (5, 3)}),
        (IMAGES, Selection(dims={"height": 48, "width": 192}), {"images": (1, 3, 48, 192)}),
        (IMAGES, Selection({"images": (2, 3, 48, 192)}), {"images": (2, 3, 48, 192)}),
        (IMAGES, Selection({"images": (1, 3, 48, 192)}, {"width": 192}), {"images": (1, 3, 48, 192)}),
        ({"x": None}, Selection({"x": (4,)}), {"x": (4,)}),
        # what one input says of a name holds for all of that name
        (TOKENS, Selection({"ids": (2, 16)}), {"ids": (2, 16), "mask": (2, 16), "positions": (1, 16)}),
        (TOKENS, Selection(dims={"sequence": 8}), {"ids": (1, 8), "mask": (1, 8), "positions": (1, 8)}),
        # a batch that does not come first
        ({"x": ["batch", 8], "h": [2, "batch", 8]}, Selection(), {"x": (1, 8), "h": (2, 1, 8)}),
        ({"x": ["N", 8], "h": [2, "N", 8]}, Selection(dims={"N": 4}), {"x": (4, 8), "h": (2, 4, 8)}),
        # arithmetic, as exporters write it
        ({"a": ["N", "s0"], "b": ["N", "2*s0 + 1"]}, Selection({"a": (1, 5)}), {"a": (1, 5), "b": (1, 11)}),
        (
            {"a": [1, "s0"], "b": ["floor(s0/2)", "Max(4, s0 - 3)"]},
            Selection(dims={"s0": 5}),
            {"a": (1, 5), "b": (2, 4)},
        ),
        ({"a": ["batch", 4], "b": ["3*batch", 4]}, Selection(), {"a": (1, 4), "b": (3, 4)}),
        ({"a": ["batch", 4], "b": ["3*batch", 4]}, Selection(dims={"batch": 2}), {"a": (2, 4), "b": (6, 4)}),
        # a name like any other, for there are no others of which it could be made
        ({"a": [1, "past-length"]}, Selection(dims={"past-length": 7}), {"a": (1, 7)}),
        # "?" is no name: the two need not be equal
        ({"x": [None, None]}, Selection({"x": (2, 3)}), {"x": (2, 3)}),
    ],
)
def test_shapes(declared, chosen, shapes) -> None:
    assert fix(declared, chosen) == shapes


@pytest.mark.parametrize(
    ("declared", "chosen", "words"),
    [
        (
            IMAGES,
            Selection(dims={"heigth": 5}),
            "--dim: .* no open dimension 'heigth'; did you mean 'height'",
        ),
        ({"x": [1, 3]}, Selection(dims={"n": 5}), "no open dimension 'n'; it has none"),
        (
            IMAGES,
            Selection({"image": (1,)}),
            "--input-shape: the model has no input 'image'; it has 'images'",
        ),
        (
            IMAGES,
            Selection({"images": (1, 3)}),
            "images=1x3 has 2 dimensions; the input has 4: .batch, 3, height",
        ),
        (
            IMAGES,
            Selection({"images": (1, 1, 8, 8)}),
            "images=1x1x8x8 contradicts the model, in which dimension 1 is 3",
        ),
        ({"x": [1, 3]}, Selection({"x": (2, 3)}), "dimension 0 is 1; for a batch there is --batch-size"),
        (
            IMAGES,
            Selection({"images": (1, 3, 8, 8)}, {"width": 9}),
            'images=1x3x8x8 contradicts --dim width=9: both say what "width" is, dimension 3',
        ),
        (
            TOKENS,
            Selection({"ids": (1, 8), "mask": (1, 9)}),
            'mask=1x9 contradicts --input-shape ids=1x8: both say what "sequence" is',
        ),
    ],
)
def test_contradictions(declared, chosen, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        fix(declared, chosen)


@pytest.mark.parametrize(
    ("declared", "chosen", "question"),
    [
        (
            {"x": [None, 3, None, None]},
            Selection(),
            (
                'input "x" has the dynamic shape [1, 3, ?, ?]: dimensions 2 and 3 are open; add --input-shape x=1x3x?x?, '
                'with a number in the place of each ? (Bazel and compile_config: input_shapes = {"x": "1x3x?x?"})'
            ),
        ),
        (
            IMAGES,
            Selection(dims={"width": 9}),
            (
                'input "images" has the dynamic shape [1, 3, height, 9]: dimension 2 is open; add --input-shape images=1x3x?x9 '
                "or --dim height=?, with a number in the place of each ? (Bazel and compile_config: input_shapes = "
                '{"images": "1x3x?x9"} or dims = {"height": "?"})'
            ),
        ),
        (
            TOKENS,
            Selection(),
            (
                "input \"ids\" has the dynamic shape [1, sequence]: dimension 1 is open, and so it is with 'mask', 'positions'; "
                "add --input-shape ids=1x? --input-shape mask=1x? --input-shape positions=1x? or --dim sequence=?, with"
            ),
        ),
        (
            {"x y": None},
            Selection(),
            "input \"x y\" has a dynamic shape (not even a rank); add --input-shape 'x y=?', with",
        ),
        (
            {"points": ["B", "n", 3]},
            Selection(),
            "[1, n, 3]: dimension 1 is open; add --input-shape points=1x?x3 or --dim n=?",
        ),
        # the first dimension of one input is no batch where it is another dimension of the next
        (
            {"p": ["seq"], "x": [1, "seq"]},
            Selection(),
            "add --input-shape p=? --input-shape x=1x? or --dim seq=?, with",
        ),
    ],
)
def test_the_question_can_be_pasted(declared, chosen, question: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        fix(declared, chosen)
    assert question in str(caught.value)


def test_a_size_that_the_model_hints_at() -> None:
    with pytest.raises(
        InvalidModel, match="add --input-shape images=1x3x640x320, as the model's metadata has it"
    ):
        fix(IMAGES, Selection(), lambda name, dims: (1, 3, 640, 320))


def test_arithmetic_is_neither_asked_for_nor_contradicted() -> None:
    declared = {"a": [1, "s0"], "b": [1, "2*s0"]}
    with pytest.raises(InvalidModel, match=r"or --dim s0=\?, with a number"):
        fix(declared, Selection())
    with pytest.raises(InvalidConfig, match=r'b=1x9 contradicts --input-shape a=1x4: "2\*s0" is not 9 then'):
        fix(declared, Selection({"a": (1, 4), "b": (1, 9)}))
    with pytest.raises(InvalidModel, match=r'input "b" has the dynamic shape \[s0/2\]'):  # 2.5 is no size
        fix({"a": [1, "s0"], "b": ["s0/2"]}, Selection({"a": (1, 5)}))
