"""Traces follow the trace event format, and a check of it finds what does not."""

from __future__ import annotations

import json

import pytest

from furiosa.enf import chrome_trace
from furiosa.enf.testing.traces import rows_of


def test_events_of_a_row_are_sorted_and_outer_ones_come_first():
    names = [*chrome_trace.named_process(1, "p"), *chrome_trace.named_row(1, 2, "r")]
    unsorted = [
        chrome_trace.complete(1, 2, "late", "c", 5, 1),
        chrome_trace.complete(1, 2, "inner", "c", 1, 1),
        chrome_trace.complete(1, 2, "outer", "c", 1, 3),
    ]
    text = chrome_trace.to_json(unsorted + names, note="n")
    assert json.loads(text)["otherData"] == {"note": "n"}
    _, _, rows = rows_of(text)
    assert [e["name"] for e in rows[1, 2]] == ["outer", "inner", "late"]


@pytest.mark.parametrize(
    "broken",
    [
        {"ts": -1.0},
        {"dur": -1.0},
        {"ph": "B"},
        {"pid": 2},
        {"tid": 3},
        {"dur": 4.5},
        {"ts": "1"},
        {"ph": "C", "args": {}},
        {"ph": "C", "args": {"bytes": "1"}},
    ],
)
def test_the_check_finds_broken_traces(broken):
    names = [*chrome_trace.named_process(1, "p"), *chrome_trace.named_row(1, 2, "r")]
    outer = chrome_trace.complete(1, 2, "outer", "c", 0, 3)
    inner = chrome_trace.complete(1, 2, "inner", "c", 1, 1)
    rows_of(chrome_trace.to_json([*names, outer, inner]))
    with pytest.raises(AssertionError):
        rows_of(json.dumps({"displayTimeUnit": "ns", "traceEvents": [*names, outer, inner | broken]}))
