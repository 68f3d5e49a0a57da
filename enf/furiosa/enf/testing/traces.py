"""What Chrome's trace event format requires of a trace; for tests."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

Row = tuple[int, int]


def rows_of(text: str) -> tuple[dict[int, str], dict[Row, str], dict[Row, list[dict[str, Any]]]]:
    """Asserts that a trace is sound and takes it apart.

    Required keys and types; no negative time, whole nanoseconds; every process and row is named, no number of a row is 0 or
    used twice; counters have numbers; on each row events are in the order of their starts and either lie inside of one
    another or side by side.

    Returns:
        Names of processes, names of rows by (pid, tid), and events of rows.
    """
    trace = json.loads(text)
    assert isinstance(trace["traceEvents"], list)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    processes: dict[int, str] = {}
    names: dict[Row, str] = {}
    rows: dict[Row, list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        assert type(event["pid"]) is int and type(event["tid"]) is int
        assert type(event["name"]) is str and event["name"] and isinstance(event["args"], dict)
        row = event["pid"], event["tid"]
        if event["ph"] == "M":
            if event["name"] == "process_name":
                assert processes.setdefault(event["pid"], event["args"]["name"]) == event["args"]["name"]
            elif event["name"] == "thread_name":
                assert names.setdefault(row, event["args"]["name"]) == event["args"]["name"]
            else:
                assert type(event["args"]["sort_index"]) is int
            continue
        if event["ph"] == "C":
            assert event["ts"] >= 0 and event["args"]
            assert all(type(value) in (int, float) for value in event["args"].values())
            assert row[0] in processes
            continue
        assert event["ph"] == "X" and type(event["cat"]) is str
        assert all(type(event[key]) in (int, float) and event[key] >= 0 for key in ("ts", "dur"))
        rows[row].append(event)
    numbers = [tid for _, tid in names]
    assert len(set(numbers)) == len(numbers) and not {0, *processes} & set(numbers)
    for row, events in rows.items():
        assert row[0] in processes and row in names
        _assert_nested(events)
    return processes, names, dict(rows)


def _assert_nested(events: list[dict[str, Any]]) -> None:
    last = 0
    open_until: list[int] = []
    for event in events:
        start, duration = (round(event[key] * 1000) for key in ("ts", "dur"))
        assert abs(event["ts"] * 1000 - start) < 1e-3 and abs(event["dur"] * 1000 - duration) < 1e-3, event
        assert start >= last, event
        last = start
        while open_until and open_until[-1] <= start:
            open_until.pop()
        assert not open_until or start + duration <= open_until[-1], event
        open_until.append(start + duration)
