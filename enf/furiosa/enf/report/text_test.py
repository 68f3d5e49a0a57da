"""Numbers and strangers' names as text."""

from __future__ import annotations

import json

import pytest

from furiosa.enf.report import text
from furiosa.enf.testing.reports import HOSTILE


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_and_nothing_else(name):
    shown = text.text(name)
    assert not set("<>\"'\n\x1b\u2028\u202e") & set(shown)


def test_names_without_measure():
    assert text.bounded("x" * 1000) == "x" * 1000
    assert len(text.text("begin" + "x" * 10**6 + "end")) <= 1001
    assert text.bounded("begin" + "x" * 10**6 + "end").startswith("beginx")
    assert text.bounded("begin" + "x" * 10**6 + "end").endswith("xend")


@pytest.mark.parametrize("name", [*HOSTILE, "\udc80", "]]>", "é", "\0"])
def test_data_cannot_leave_its_element(name):
    shown = text.data({name: [name]})
    assert shown.isascii() and not set("<>&") & set(shown)
    assert json.loads(shown) == {name: [name]}


def test_data_are_json_and_nothing_more():
    with pytest.raises(ValueError, match="JSON"):
        text.data(float("nan"))


@pytest.mark.parametrize(
    ("us", "shown"),
    [
        (0, "0.00 µs"),
        (0.42, "0.42 µs"),
        (251.54, "251.5 µs"),
        (9552.2, "9,552 µs"),
        (12345, "12.3 ms"),
        (1.2e6, "1.20 s"),
    ],
)
def test_microseconds(us, shown):
    assert text.microseconds(us) == shown


@pytest.mark.parametrize(
    ("n", "shown"),
    [(0, "0 B"), (512, "512 B"), (1024, "1.00 KiB"), (14_900_000, "14.2 MiB"), (16 << 30, "16.0 GiB")],
)
def test_nbytes(n, shown):
    assert text.nbytes(n) == shown


@pytest.mark.parametrize(
    ("n", "shown"),
    [(0, "0"), (999, "999"), (9_999, "9,999"), (36_864, "36.9 k"), (4_089_184_256, "4.09 G")],
)
def test_count(n, shown):
    assert text.count(n) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.076, "7.6 %"),
        (0.18, "18 %"),
        (0.9999, "> 99 %"),
        (1, "100 %"),
    ],
)
def test_percent(share, shown):
    assert text.percent(share) == shown


def test_short_names():
    assert text.short("a/b/Relu;c/d/Conv", 40) == "c/d/Conv"
    assert text.short("x" * 50 + "end", 8) == "…xxxxend"
    assert text.short("odd;", 8) == "odd;"
