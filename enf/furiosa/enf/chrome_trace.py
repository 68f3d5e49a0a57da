"""Traces in Chrome's trace event format, as chrome://tracing and Perfetto open them.

A trace is {"traceEvents": [event, ...]}.  Metadata events (ph "M") name processes and rows, complete events (ph "X") have a
start ``ts`` and a duration ``dur`` in microseconds.  Each clock has a process (``pid``) of its own: times of different processes
must not be compared.  The format: "Trace Event Format", Google, section "Complete Events" and "Metadata Events".
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Event = dict[str, Any]


def named_process(pid: int, name: str) -> list[Event]:
    """The name of a process, and its place among the processes."""
    arguments = {"process_name": {"name": name}, "process_sort_index": {"sort_index": pid}}
    tid = _tid(pid, 0)
    return [{"ph": "M", "name": key, "pid": pid, "tid": tid, "args": args} for key, args in arguments.items()]


def named_row(pid: int, row: int, name: str) -> list[Event]:
    """The name of a row of a process, and its place among the rows."""
    arguments = {"thread_name": {"name": name}, "thread_sort_index": {"sort_index": row}}
    tid = _tid(pid, row)
    return [{"ph": "M", "name": key, "pid": pid, "tid": tid, "args": args} for key, args in arguments.items()]


def complete(
    pid: int, row: int, name: str, category: str, start_us: float, duration_us: float, **args: Any
) -> Event:
    """Something that takes time; on one row, what is inside of another must end no later than that.

    Perfetto counts in nanoseconds and drops what overlaps by one, so start and end are whole ones, and what ends when something
    else starts does so after rounding, too.
    """
    start, end = _nanoseconds(start_us), _nanoseconds(start_us + duration_us)
    times = {"ts": start / 1000, "dur": (end - start) / 1000}
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": pid,
        "tid": _tid(pid, row),
        **times,
        "args": args,
    }


def counter(pid: int, name: str, at_us: float, values: dict[str, float]) -> Event:
    """Values of a process from a time on."""
    ts = _nanoseconds(at_us) / 1000
    return {"ph": "C", "name": name, "pid": pid, "tid": _tid(pid, 0), "ts": ts, "args": values}


def _nanoseconds(us: float) -> int:
    return math.floor(us * 1000 + 1e-4)


def _tid(pid: int, row: int) -> int:
    """Not 0, not the number of a process, and of one row only: else Perfetto joins rows as one thread."""
    return pid * 1_000_000 + 1 + row


def to_json(events: Iterable[Event], **other: str) -> str:
    """The whole trace as ASCII text: names first, then each row's events by time; ``other`` is said about the trace."""
    ordered = sorted(
        events, key=lambda e: (e["ph"] != "M", e["pid"], e["tid"], e.get("ts", 0), -e.get("dur", 0))
    )
    content = {"displayTimeUnit": "ns", "otherData": other, "traceEvents": ordered}
    return json.dumps(content, separators=(",", ":")) + "\n"
