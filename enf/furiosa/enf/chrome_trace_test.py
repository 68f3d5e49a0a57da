"""Traces follow the trace event format, and say what the simulated NPU does and when."""

from __future__ import annotations

import json

import pytest

from furiosa.enf import chrome_trace
from furiosa.enf.performance import analyze_enf
from furiosa.enf.testing.programs import lookup
from furiosa.enf.testing.traces import rows_of


def events():
    p = lookup()
    p.debug.operators.add(name="f", op_type="Relu", placed_on="npu")
    p.debug.command_operator.extend([0] * 4)
    enf = p.load()
    performance = analyze_enf(enf)
    return (
        enf,
        performance,
        chrome_trace.npu_events(7, "m", enf.commands, enf.debug, performance, enf.target),
    )


def test_commands_on_the_rows_of_their_engines():
    enf, performance, found = events()
    text = chrome_trace.to_json(found, note="n")
    processes, names, rows = rows_of(text)
    assert processes == {7: "m: simulated NPU time (an estimate, not measured)"}
    assert [names[7, tid] for tid in range(4)] == ["run", "LOAD", "STORE", "PE"]
    (run,) = rows[7, 0]
    assert (run["ts"], run["dur"]) == (0, pytest.approx(performance.npu_us, abs=1e-3))
    assert run["args"]["latency_us"] == pytest.approx(performance.latency_us, abs=1e-3)
    assert [e["name"] for e in rows[7, 1]] == ["LOAD", "LOAD"]
    (lookup_event,) = rows[7, 3]
    span = performance.spans[2]
    assert lookup_event["args"] == {
        "start_cycle": span.start,
        "end_cycle": span.end,
        "instruction_index": 2,
        "operator_index": 0,
        "operator": "f",
        "op_type": "Relu",
    }
    cycle_us = 1e6 / enf.target.clock_hz
    assert lookup_event["ts"] == pytest.approx(span.start * cycle_us, abs=1e-3)
    assert lookup_event["dur"] == pytest.approx((span.end - span.start) * cycle_us, abs=1e-3)
    assert json.loads(text)["otherData"] == {"note": "n"}


def test_setup_stands_before_the_run():
    """Cycles before 0 are setup; no time is negative."""
    enf, performance, _ = events()
    load = performance.spans[1]
    performance.spans[1] = type(load)(-1000, -1000 + load.end - load.start)
    found = chrome_trace.npu_events(1, "m", enf.commands, enf.debug, performance, enf.target)
    _, _, rows = rows_of(chrome_trace.to_json(found))
    setup, run = rows[1, 0]
    assert setup["ts"] == 0 and setup["name"].startswith("Setup")
    assert run["ts"] == setup["dur"] == pytest.approx(1000 * 1e6 / enf.target.clock_hz)


def test_without_a_debug_map():
    enf = lookup().load()
    found = chrome_trace.npu_events(1, "m", enf.commands, enf.debug, analyze_enf(enf), enf.target)
    _, _, rows = rows_of(chrome_trace.to_json(found))
    assert set(rows[1, 3][0]["args"]) == {"start_cycle", "end_cycle", "instruction_index"}


def test_events_of_a_row_are_sorted_and_outer_ones_come_first():
    names = [*chrome_trace.named_process(1, "p"), *chrome_trace.named_row(1, 2, "r")]
    unsorted = [
        chrome_trace.complete(1, 2, "late", "c", 5, 1),
        chrome_trace.complete(1, 2, "inner", "c", 1, 1),
        chrome_trace.complete(1, 2, "outer", "c", 1, 3),
    ]
    _, _, rows = rows_of(chrome_trace.to_json(unsorted + names))
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
    ],
)
def test_the_check_finds_broken_traces(broken):
    names = [*chrome_trace.named_process(1, "p"), *chrome_trace.named_row(1, 2, "r")]
    outer = chrome_trace.complete(1, 2, "outer", "c", 0, 3)
    inner = chrome_trace.complete(1, 2, "inner", "c", 1, 1)
    rows_of(chrome_trace.to_json([*names, outer, inner]))
    with pytest.raises(AssertionError):
        rows_of(json.dumps({"displayTimeUnit": "ns", "traceEvents": [*names, outer, inner | broken]}))
