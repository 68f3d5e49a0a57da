"""A recording as a Chrome trace and as rows: measured time in one process, simulated time of each program in its own."""

from __future__ import annotations

from typing import Any

from furiosa.enf import chrome_trace
from furiosa.enf.machine import Engine
from furiosa.enf.performance import analyze_enf
from furiosa.enf.reader import Enf
from furiosa.enf.report import trace as simulated
from furiosa.enf.report.program import of_enf
from furiosa.runtime.profiler import MEASURED, SIMULATED, Resource
from furiosa.runtime.recording import INFERENCE, USER, Recorder

HOST_PID = 1  # and from 2 on the programs
NPU_TID = 10_000_000  # the vendor's number of an NPU's rows


def trace(recorder: Recorder, resource: Resource = Resource.ALL) -> str:
    """The text of a trace; every process says which clock is its."""
    events: list[chrome_trace.Event] = []
    if resource is not Resource.NPU:
        events += _host_events(recorder)
    if resource is not Resource.CPU:
        for name, enf in recorder.programs.values():
            pid = max((e["pid"] for e in events), default=HOST_PID) + 1
            title = f"{name} on {enf.metadata.target_npu}, batch size {enf.metadata.batch_size}"
            events += simulated.events(of_enf(enf), analyze_enf(enf), title, pid)
    other = {"host": MEASURED, "npu": SIMULATED}
    if recorder.dropped:
        other["dropped"] = f"{recorder.dropped} spans beyond the first {len(recorder.spans)}"
    return chrome_trace.to_json(events, **other)


def _host_events(recorder: Recorder) -> list[chrome_trace.Event]:
    spans = list(recorder.spans)
    events = chrome_trace.named_process(HOST_PID, f"{MEASURED} (host)")
    origin = min((s.start for s in spans), default=0)
    rows: dict[tuple[int, str], int] = {}
    for span in spans:
        row = rows.setdefault(span.thread, len(rows))
        start, duration = (span.start - origin) / 1e3, (span.end - span.start) / 1e3
        events.append(
            chrome_trace.complete(HOST_PID, row, span.name, span.category, start, duration, **span.args)
        )
    for (_, name), row in rows.items():
        events += chrome_trace.named_row(HOST_PID, row, name)
    return events


def rows(recorder: Recorder, resource: Resource = Resource.ALL) -> list[dict[str, Any]]:
    """See ``Profiler.rows``."""
    found: list[dict[str, Any]] = []
    if resource is not Resource.NPU:
        found += _measured_rows(recorder)
    if resource is not Resource.CPU:
        for name, enf in recorder.programs.values():
            found += _simulated_rows(name, enf)
    return found


def _measured_rows(recorder: Recorder) -> list[dict[str, Any]]:
    """An inference and its parts, which follow it in the recording, share a ``trace_id``."""
    found = []
    trace_id = parent = 0
    for number, span in enumerate(list(recorder.spans), 1):
        user = span.category == USER
        if span.name == INFERENCE and not user:
            trace_id, parent = trace_id + 1, number
        row = {
            "clock": "measured",
            "trace_id": 0 if user else trace_id,
            "span_id": number,
            "parent_span_id": 0 if user or parent == number else parent,
            "start": span.start,
            "end": span.end,
            "dur": span.end - span.start,
            "cat": span.category,
            "name": span.name,
            "thread.id": span.thread[0],
        }
        found.append(row | span.args)
    return found


def _simulated_rows(name: str, enf: Enf) -> list[dict[str, Any]]:
    nanoseconds = 1e9 / enf.target.clock_hz
    owners = list(enf.debug.command_operator) or [None] * len(enf.commands)
    found = []
    for i, (command, span) in enumerate(zip(enf.commands, analyze_enf(enf).spans, strict=True)):
        start, end = round(span.start * nanoseconds), round(span.end * nanoseconds)
        row = {
            "clock": "simulated",
            "start": start,
            "end": end,
            "dur": end - start,
            "cat": "NPU",
            "name": command.instruction.name,
            "thread.id": NPU_TID,
            "engine": Engine.NAMES[command.engine],
            "instruction_index": i,
            "operator_index": owners[i],
            "model": name,
        }
        found.append(row)
    return found
