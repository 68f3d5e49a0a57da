"""The run on one time axis: everything is there once, nothing overlaps that cannot, and it ends at the latency."""

from __future__ import annotations

import pytest

from furiosa.enf import timing
from furiosa.enf.performance import analyze, analyze_enf
from furiosa.enf.report.buffers import ACTIVATIONS, CONSTANTS, RESIDENT, bands, peak_bytes
from furiosa.enf.report.program import of_enf
from furiosa.enf.report.shares import Share, shares, starting_us, verdict
from furiosa.enf.report.timeline import HOST, PCIE, START, Timeline
from furiosa.enf.testing.programs import lookup, ranged
from furiosa.enf.testing.reports import SIZE, host_and_npu


def test_everything_in_its_order():
    """Host, what it made to the card, commands, the result back."""
    enf = host_and_npu().load()
    performance = analyze_enf(enf)
    timeline = Timeline(of_enf(enf), performance)
    pieces = [p for p in timeline.pieces if p.lane != START]
    assert [(p.lane, p.name, p.nbytes) for p in pieces] == [
        (HOST, "operators on the host", 0),
        (PCIE, "made to the NPU", SIZE),
        (PCIE, "y from the NPU", SIZE),
    ]
    one_way = timing.transfer_us(enf.target, SIZE)
    assert [p.end_us - p.start_us for p in pieces] == pytest.approx([7.5, one_way, one_way])
    (step,) = timeline.steps
    assert step.start_us == pytest.approx(pieces[1].end_us)
    assert timeline.us(3, performance.spans[3].end) == pytest.approx(pieces[2].start_us)
    assert timeline.end_us == pytest.approx(performance.latency_us)


def test_the_shares_add_up():
    enf = host_and_npu().load()
    performance = analyze_enf(enf)
    parts = shares(of_enf(enf), performance, Timeline(of_enf(enf), performance))
    assert sum(p.us for p in parts) == pytest.approx(performance.latency_us)
    by_key = {p.key: p.us for p in parts}
    assert by_key["host"] == 7.5
    us = 1e6 / enf.target.clock_hz
    assert by_key["npu"] == pytest.approx(timing.work_cycles(enf.commands[2], enf.target) * us)
    assert by_key["idle"] == pytest.approx(timing.overhead_cycles(enf.target) * us)
    assert by_key["load"] > 0
    assert starting_us(of_enf(enf)) == {1: pytest.approx(by_key["idle"])}


@pytest.mark.parametrize(
    ("key", "words"),
    [("host", "For 60 % of a run operators run on the host."), ("start", "60 % of a run is what starting")],
)
def test_the_verdict_is_about_the_largest(key, words):
    parts = [Share("npu", "", 1.0), Share(key, "", 3.0), Share("pcie", "", 1.0)]
    assert verdict(parts, 0.0).startswith(words)
    assert verdict(parts, 0.18).endswith("The multipliers reach 18 % of their peak over the whole run.")
    assert verdict([Share("npu", "", 0.0)], 0.0) == "This program does nothing."


def test_what_lies_in_sram():
    enf = host_and_npu().load()
    performance = analyze_enf(enf)
    enf.memory.sram_tensor.extend(("table", "x", "y"))
    timeline = Timeline(of_enf(enf), performance)
    table, x, y = bands(of_enf(enf), timeline, performance.spans)
    assert [(b.name, b.kind) for b in (table, x, y)] == [
        ("table", CONSTANTS),
        ("x", ACTIVATIONS),
        ("y", ACTIVATIONS),
    ]
    spans = performance.spans
    assert (x.address, x.size, x.start, x.end) == (SIZE, SIZE, spans[1].start, spans[2].end)
    assert x.start_us == pytest.approx(timeline.us(1, spans[1].start))
    assert (y.start, y.end) == (spans[2].start, spans[3].end)
    assert peak_bytes([table, x, y]) == 256 + 2 * SIZE


def test_what_is_written_before_the_first_run_stays():
    p = lookup()
    p.sram = [(0, 64, 1, 2), (64, 256, 0, 3), (320, 64, 2, 3)]
    p.commands[0], p.commands[1] = p.commands[1], p.commands[0]
    enf = p.load()
    enf.memory.sram_tensor.extend("abc")
    enf.plan.steps[0].CopyFrom(ranged(1, 3))  # the load of the table is setup
    performance = analyze(enf.commands, enf.plan.steps, enf.debug, enf.interface, enf.metadata, enf.target)
    timeline = Timeline(of_enf(enf), performance)
    assert timeline.step_of(0) is None and timeline.step_of(1) == 0
    found = bands(of_enf(enf), timeline, performance.spans)
    assert [b.kind for b in found] == [ACTIVATIONS, RESIDENT, ACTIVATIONS]
    assert (found[1].start_us, found[1].end_us) == (0, timeline.end_us)
