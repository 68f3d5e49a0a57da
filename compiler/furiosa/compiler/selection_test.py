"""What users write of shapes and names."""

from __future__ import annotations

from argparse import ArgumentParser

import pytest

from furiosa.compiler import selection
from furiosa.compiler.errors import InvalidConfig
from furiosa.compiler.selection import Selection
from furiosa.enf.selection import add_options, said


def parse(shapes: list[str], dims: list[str], inputs: list[str] = [], outputs: list[str] = []) -> Selection:  # noqa: B006
    """What a command line with these options says."""
    p = ArgumentParser()
    add_options(p)
    options = {"--input-shape": shapes, "--dim": dims, "--inputs": inputs, "--outputs": outputs}
    return selection.selection(
        **said(p.parse_args([f"{o}={v}" for o, values in options.items() for v in values]))
    )


def test_the_command_line_and_an_api_say_the_same() -> None:
    line = parse(["a=b:0=1x3x640x640", "s=7"], ["height=640"], ["x"], ["y,z"])
    assert line == Selection({"a=b:0": (1, 3, 640, 640), "s": (7,)}, {"height": 640}, ("x",), ("y,z",))
    for shape in ("1x3x640x640", [1, 3, 640, 640], (1, 3, 640, "640")):
        assert line == selection.selection({"a=b:0": shape, "s": [7]}, {"height": 640}, ["x"], ["y,z"])


def test_nothing_is_false() -> None:
    assert not selection.selection() and not parse([], [])
    assert Selection(outputs=("y",))


@pytest.mark.parametrize(
    ("shapes", "dims", "words"),
    [
        (["x"], [], "--input-shape 'x' is not of the form NAME=1x3x640x640"),
        (["=1x3"], [], "is not of the form"),
        (["x="], [], "is not of the form"),
        (["x=1x-3"], [], "the shape '1x-3' of input 'x': '-3' is no size from 1 to 2147483647"),
        (["x=1x"], [], "'' is no size"),
        (["x=1x?"], [], "'[?]' is no size"),
        (["x=1x0"], [], "0 is no size"),
        (["x=1x9999999999"], [], "9999999999 is no size"),
        (["x=" + "9" * 1000], [], "is no size"),
        (["x=1x٣"], [], "'٣' is no size"),
        (["x=" + "x".join("1" * 65)], [], "is not of the form"),
        (["x=1x3", "x=1x3"], [], "--input-shape is given twice for 'x'"),
        ([], ["height"], "--dim 'height' is not of the form NAME=640"),
        ([], ["height=640x640"], "dimension height: '640x640' is no size"),
    ],
)
def test_other_forms_are_refused(shapes: list[str], dims: list[str], words: str) -> None:
    with pytest.raises((InvalidConfig, ValueError), match=words):
        parse(shapes, dims)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (({"x": 5},), "the shape 5 of input 'x' is not of the form"),
        (({"x": [1, 2.5]},), "2.5 is no size"),
        (({"x": [True]},), "True is no size"),
        (({1: [1]},), "is no dictionary of names"),
        ((["x"],), "is no dictionary of names"),
        ((None, {"n": None}), "None is no size"),
        ((None, None, "x"), "'x' is no list of tensor names"),
        ((None, None, [""]), "is no list of tensor names"),
        ((None, None, [], [3]), "is no list of tensor names"),
    ],
)
def test_values_of_another_kind_are_refused(arguments: tuple, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        selection.selection(*arguments)


def test_names_with_and_without_commas() -> None:
    known = ["a", "b", "a,b", "c"]
    assert selection.names("--outputs", ["a,b", "c"], known) == ("a,b", "c")
    assert selection.names("--outputs", ["c,a", "b"], known) == ("c", "a", "b")
    with pytest.raises(InvalidConfig, match="the tensor 'c' is named twice"):
        selection.names("--outputs", ["c,a", "c"], known)
    with pytest.raises(InvalidConfig, match="no tensor ''"):
        selection.names("--outputs", ["c,"], known)


def test_close_names_are_suggested() -> None:
    known = [f"layer{i}/out" for i in range(100)] + ["detection_boxes"]
    with pytest.raises(
        InvalidConfig,
        match="--outputs: the model has no tensor 'detection_bxs'; did you mean 'detection_boxes'",
    ):
        selection.names("--outputs", ["detection_bxs"], known)
    with pytest.raises(InvalidConfig, match="did you mean .*'detection_boxes'"):
        selection.names("--outputs", ["boxes"], known)
    with pytest.raises(InvalidConfig, match="it has 'layer0/out', .* and 89 more$"):
        selection.names("--outputs", ["#"], known)
    with pytest.raises(InvalidConfig, match="; it has none$"):
        selection.names("--outputs", ["x"], [])


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("x=1x3x?x?", "x=1x3x?x?"),
        ("/model.22/x:0=1", "/model.22/x:0=1"),
        ("a b=1", "'a b=1'"),
        ("$x=1", "'$x=1'"),
    ],
)
def test_arguments_are_as_a_shell_takes_them(text: str, quoted: str) -> None:
    assert selection.argument("--input-shape", text) == f"--input-shape {quoted}"
