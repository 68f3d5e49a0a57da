"""One run from input to output as a Chrome trace, with host and PCIe, the layers, and the bytes that live in SRAM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from furiosa.enf.chrome_trace import Event, complete, counter, named_process, named_row, to_json
from furiosa.enf.report.buffers import KINDS, bands
from furiosa.enf.report.timeline import HOST, LANES, LOAD, PCIE, PE, START, STORE, Timeline, lane

if TYPE_CHECKING:
    from furiosa.enf.performance import Performance
    from furiosa.enf.report.program import Program

_LAYERS = len(LANES)
_ROWS = {HOST: "host", PCIE: "PCIe", LOAD: "DMA load", STORE: "DMA store", PE: "NPU", _LAYERS: "layers"}


def chrome_trace(program: Program, performance: Performance, title: str) -> bytes:
    """The trace of one run, and of the commands that run once before it; ASCII JSON.

    A row for each engine, one for the layers that the NPU computes; a counter of the live bytes of SRAM.  The arguments of a
    command are those of furiosa.enf.chrome_trace, with the bytes that it writes.
    """
    return to_json(events(program, performance, title), target_npu=program.metadata.target_npu).encode(
        "ascii"
    )


def events(program: Program, performance: Performance, title: str, pid: int = 1) -> list[Event]:
    """The events of such a trace, by processes from number ``pid`` on: the setup, where there is one, and the run.

    Each begins at 0.
    """
    timeline = Timeline(program, performance)
    found = []
    run = pid
    if min((s.first for s in timeline.steps), default=len(program.commands)):
        found += _named(pid, f"simulated, setup before the first run (an estimate): {title}")
        run += 1
    found += _named(run, f"simulated, one run (an estimate): {title}")
    found += _commands(program, performance, timeline, run)
    found += _layers(program, performance, timeline, run)
    for p in timeline.pieces:
        more = {"bytes": p.nbytes} if p.nbytes else {}
        row = HOST if p.lane == START else p.lane
        found.append(complete(run, row, p.name, _ROWS[row], p.start_us, p.end_us - p.start_us, **more))
    found += _memory(program, performance, timeline, run)
    return found


def _named(process: int, name: str) -> list[Event]:
    rows = [event for row, what in _ROWS.items() for event in named_row(process, row, what)]
    return [*named_process(process, name), *rows]


def _commands(program: Program, performance: Performance, timeline: Timeline, run: int) -> Iterator[Event]:
    owner = program.debug.command_operator
    clock = program.target.clock_hz / 1e6
    zero = min((s.start for s in performance.spans), default=0)  # where the setup starts
    for i, (c, span) in enumerate(zip(program.commands, performance.spans)):
        is_setup = timeline.step_of(i) is None
        start = (span.start - zero) / clock if is_setup else timeline.us(i, span.start)
        args: dict[str, Any] = {"start_cycle": span.start, "end_cycle": span.end, "instruction_index": i}
        if owner:
            operator = program.debug.operators[owner[i]]
            args |= {"operator_index": owner[i], "operator": operator.name, "op_type": operator.op_type}
        yield complete(
            run - 1 if is_setup else run,
            lane(c),
            c.instruction.name,
            "NPU",
            start,
            (span.end - span.start) / clock,
            **args,
            bytes=c.operands[-1].nbytes,
        )


def _layers(program: Program, performance: Performance, timeline: Timeline, run: int) -> Iterator[Event]:
    """What the NPU computes, neighbouring commands of one operator as one."""
    owner = program.debug.command_operator
    if not owner:
        return
    current: tuple[int, float, float] | None = None  # operator, start, end
    for step in timeline.steps:
        for i in range(step.first, step.first + step.count):
            if lane(program.commands[i]) != PE:
                continue
            start, end = (timeline.us(i, cycle) for cycle in performance.spans[i])
            if current and current[0] == owner[i]:
                current = (owner[i], current[1], end)
                continue
            if current:
                yield _layer(program, run, *current)
            current = (owner[i], start, end)
    if current:
        yield _layer(program, run, *current)


def _layer(program: Program, run: int, index: int, start: float, end: float) -> Event:
    operator = program.debug.operators[index]
    name = operator.name or operator.op_type or "?"
    args = {"op_type": operator.op_type, "macs": operator.macs}
    return complete(run, _LAYERS, name, operator.op_type, start, end - start, **args)


def _memory(program: Program, performance: Performance, timeline: Timeline, run: int) -> Iterator[Event]:
    """The live bytes of SRAM by kind, wherever they change."""
    changes: dict[float, list[int]] = {}
    for b in bands(program, timeline, performance.spans):
        changes.setdefault(b.start_us, [0] * len(KINDS))[b.kind] += b.size
        changes.setdefault(b.end_us, [0] * len(KINDS))[b.kind] -= b.size
    live = [0] * len(KINDS)
    for at in sorted(changes):
        live = [a + b for a, b in zip(live, changes[at])]
        yield counter(run, "SRAM bytes", at, dict(zip(KINDS, live)))
