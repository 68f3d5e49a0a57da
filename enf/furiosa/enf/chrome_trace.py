"""Traces in Chrome's trace event format, as chrome://tracing and Perfetto open them; NPU time is simulated time.

A trace is {"traceEvents": [event, ...]}.  Metadata events (ph "M") name processes and rows, complete events (ph "X") have a
start ``ts`` and a duration ``dur`` in microseconds.  Each clock has a process (``pid``) of its own: times of different processes
must not be compared.  The format: "Trace Event Format", Google, section "Complete Events" and "Metadata Events".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from furiosa.enf.machine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from furiosa.enf.enf_pb2 import DebugMap
    from furiosa.enf.isa import Command
    from furiosa.enf.performance import Performance
    from furiosa.enf.target import Target

Event = dict[str, Any]

_RUN, _ENGINES = 0, 1  # rows of an NPU's process: the run as a whole, then one for each engine


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


def npu_events(
    pid: int,
    title: str,
    commands: Sequence[Command],
    debug: DebugMap,
    performance: Performance,
    target: Target,
) -> list[Event]:
    """One run of a program on the simulated NPU, a process of its own, with its setup, if any, before it.

    Its clock starts with the setup, 0; ``args`` hold cycles, which are 0 where the run starts.
    """
    microseconds = 1e6 / target.clock_hz
    origin = min((span.start for span in performance.spans), default=0)
    events = named_process(pid, f"{title}: simulated NPU time (an estimate, not measured)")
    events += named_row(pid, _RUN, "run")
    for engine, name in enumerate(Engine.NAMES):
        events += named_row(pid, _ENGINES + engine, name.upper())

    def event(tid: int, name: str, start: int, end: int, **args: Any) -> Event:
        start_us, end_us = ((at - origin) * microseconds for at in (start, end))
        return complete(
            pid, tid, name, "NPU", start_us, end_us - start_us, start_cycle=start, end_cycle=end, **args
        )

    if origin < 0:
        events.append(event(_RUN, "Setup, once before the first run", origin, 0))
    end = max((span.end for span in performance.spans), default=0)
    figures = ("latency_us", "npu_us", "transfer_us", "host_us", "overhead_us", "throughput_per_s")
    shown = {name: round(getattr(performance, name), 3) for name in figures}
    events.append(event(_RUN, "Run", 0, max(end, 0), **shown))
    names = [(operator.name, operator.op_type) for operator in debug.operators]
    owners = list(debug.command_operator) or [None] * len(commands)
    for i, (command, span, owner) in enumerate(zip(commands, performance.spans, owners, strict=True)):
        args: dict[str, Any] = {"instruction_index": i}
        if owner is not None:
            args |= {"operator_index": owner, "operator": names[owner][0], "op_type": names[owner][1]}
        events.append(event(_ENGINES + command.engine, command.instruction.name, *span, **args))
    return events


def to_json(events: Iterable[Event], **other: str) -> str:
    """The whole trace as ASCII text: names first, then each row's events by time; ``other`` is said about the trace."""
    ordered = sorted(
        events, key=lambda e: (e["ph"] != "M", e["pid"], e["tid"], e.get("ts", 0), -e.get("dur", 0))
    )
    content = {"displayTimeUnit": "ns", "otherData": other, "traceEvents": ordered}
    return json.dumps(content, separators=(",", ":")) + "\n"
