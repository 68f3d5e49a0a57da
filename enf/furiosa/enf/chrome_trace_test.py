"""Traces follow the trace event format, and a check of it finds what does not."""

from __future__ import annotations

import json
from itertools import pairwise

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
    assert [[e["name"] for e in events] for events in rows.values()] == [["outer", "inner", "late"]]


def test_what_ends_when_something_starts_does_so_after_rounding():
    """Half nanoseconds are usual: the machine's clock has 2 GHz."""
    cycles = [0, 3, 5, 8, 1001, 1_000_003, 2_000_000_001]
    names = [*chrome_trace.named_process(1, "p"), *chrome_trace.named_row(1, 0, "r")]
    events = [
        chrome_trace.complete(1, 0, "e", "c", start / 2000, (end - start) / 2000)
        for start, end in pairwise(cycles)
    ]
    _, _, rows = rows_of(chrome_trace.to_json([*names, *events]))
    ((_, found),) = rows.items()
    assert all(round((a["ts"] + a["dur"]) * 1000) == round(b["ts"] * 1000) for a, b in pairwise(found))
    assert [round(e["ts"] * 1000) for e in found] == [cycle // 2 for cycle in cycles[:-1]]


def test_counters():
    names = chrome_trace.named_process(1, "p")
    text = chrome_trace.to_json([*names, chrome_trace.counter(1, "bytes", 0.0005, {"a": 3, "b": 0})])
    assert json.loads(text)["traceEvents"][-1]["args"] == {"a": 3, "b": 0}
    rows_of(text)


@pytest.mark.parametrize(
    "broken",
    [
        {"ts": -1.0},
        {"dur": -1.0},
        {"ph": "B"},
        {"pid": 2},
        {"tid": 3},
        {"dur": 4.5},
        {"dur": 2.001},
        {"dur": 0.0005},
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
