"""Traces in Chrome's trace event format, as chrome://tracing and Perfetto open them.

A trace is {"traceEvents": [event, ...]}.  Metadata events (ph "M") name processes and rows, complete events (ph "X") have a
start ``ts`` and a duration ``dur`` in microseconds.  Each clock has a process (``pid``) of its own: times of different processes
must not be compared.  The format: "Trace Event Format", Google, section "Complete Events" and "Metadata Events".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Event = dict[str, Any]


def named_process(pid: int, name: str) -> list[Event]:
    """The name of a process, and its place among the processes."""
    arguments = {"process_name": {"name": name}, "process_sort_index": {"sort_index": pid}}
    return [{"ph": "M", "name": key, "pid": pid, "tid": 0, "args": args} for key, args in arguments.items()]


def named_row(pid: int, tid: int, name: str) -> list[Event]:
    """The name of a row of a process, and its place among the rows."""
    arguments = {"thread_name": {"name": name}, "thread_sort_index": {"sort_index": tid}}
    return [{"ph": "M", "name": key, "pid": pid, "tid": tid, "args": args} for key, args in arguments.items()]


def complete(
    pid: int, tid: int, name: str, category: str, start_us: float, duration_us: float, **args: Any
) -> Event:
    """Something that takes time; on one row, what is inside of another must end no later than that."""
    times = {"ts": round(start_us, 3), "dur": round(duration_us, 3)}
    return {"ph": "X", "name": name, "cat": category, "pid": pid, "tid": tid, **times, "args": args}


def to_json(events: Iterable[Event], **other: str) -> str:
    """The whole trace as ASCII text: names first, then each row's events by time; ``other`` is said about the trace."""
    ordered = sorted(
        events, key=lambda e: (e["ph"] != "M", e["pid"], e["tid"], e.get("ts", 0), -e.get("dur", 0))
    )
    content = {"displayTimeUnit": "ns", "otherData": other, "traceEvents": ordered}
    return json.dumps(content, separators=(",", ":")) + "\n"
