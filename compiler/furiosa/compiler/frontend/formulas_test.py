"""Names of dimensions that are arithmetic, and names that only look like it."""

from __future__ import annotations

import pytest

from furiosa.compiler.frontend import formulas

KNOWN = {"s0": 5, "past_length": 3, "length": 4}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("2*s0", 10),
        ("past_length + length", 7),
        ("floor(s0/2) + 1", 3),
        ("(s0 + 1)//2", 3),
        ("ceiling(s0/4)", 2),
        ("Min(s0, length) % 3", 1),
        ("s0/2", None),
        ("s0 - 6", None),
        ("s0//(length - 4)", None),
        ("s0*2147483647", None),
    ],
)
def test_sizes(name: str, size: int | None) -> None:
    assert formulas.parts(name, KNOWN)
    assert formulas.size(name, KNOWN) == size


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "s0",
            "7",
            "3*4",
            "other*2",
            "p2o.DynamicDimension.1",
            "s0**9",
            "s0.real",
            "abs(s0)",
            "s0 + 0.5",
            "__import__('os')",
        ),
        *(
            "s0 if length else 1",
            "[s0]*2",
            "(" * 90,
            "s0" + "+s0" * 40,
            "s0(length)",
            "max()",
            "floor(s0, x=1)",
            "s0 s0",
            "\0",
        ),
    ],
)
def test_names(name: str) -> None:
    assert formulas.parts(name, KNOWN) == []


@pytest.mark.parametrize("name", ["1or s0", "0x1for s0", '"\\d" + s0', "2*s0 is 4"])
@pytest.mark.filterwarnings("error")
def test_python_has_nothing_to_say_of_odd_names(name: str) -> None:
    assert formulas.parts(name, KNOWN) == []


def test_names_need_not_be_english() -> None:
    assert formulas.size("2*Länge", {"Länge": 3}) == 6
