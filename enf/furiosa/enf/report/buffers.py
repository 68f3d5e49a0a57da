"""What lies in SRAM when: the memory plan of a program with the times of its simulated run."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from furiosa.enf.machine import Engine, Space
from furiosa.enf.report.timeline import Timeline

if TYPE_CHECKING:
    from furiosa.enf.report.program import Program
    from furiosa.enf.timing import Span

RESIDENT, CONSTANTS, ACTIVATIONS = range(3)
KINDS = ("resident", "constants", "activations")


class Band(NamedTuple):
    """A buffer: bytes [address, address + size) for cycles [start, end) of the NPU's clock, microseconds of the run.

    ``kind`` is an index into KINDS: constants that stay in SRAM from run to run (static), constants that a run loads,
    and activations (both dynamic).
    """

    name: str
    kind: int
    address: int
    size: int
    start: int
    end: int
    start_us: float
    end_us: float


def bands(program: Program, timeline: Timeline, spans: Sequence[Span]) -> list[Band]:
    """The buffers of the memory plan, in its order; ``spans`` are those of the performance.

    Names are "" in a file that has none.
    """
    plan = program.memory
    names = plan.sram_tensor or [""] * len(plan.sram_size)
    constant = _constants(program)
    last = max((s.end for s in spans), default=0)
    out = []
    for i, (name, address, size, first, final) in enumerate(
        zip(names, plan.sram_address, plan.sram_size, plan.sram_first, plan.sram_last)
    ):
        step = timeline.step_of(first)
        if step is None:  # written before the first run: it stays
            out.append(Band(name, RESIDENT, address, size, 0, last, 0.0, timeline.end_us))
            continue
        start, end = spans[first].start, spans[final].end
        kind = CONSTANTS if i in constant else ACTIVATIONS
        times = timeline.us(first, start), timeline.us(first, end)
        out.append(Band(name, kind, address, size, start, end, *times))
    return out


def peak_bytes(found: list[Band]) -> int:
    """The most bytes that live at one time of the simulated run."""
    events = sorted([(b.start, b.size) for b in found] + [(b.end, -b.size) for b in found])
    most = now = 0
    for _, change in events:  # of one cycle the ends come first
        now += change
        most = max(most, now)
    return most


def _constants(program: Program) -> set[int]:
    """The buffers (indexes of the plan) that a LOAD from the constants writes."""
    plan = program.memory
    births: dict[int, list[int]] = {}
    deaths: dict[int, list[int]] = {}
    for i, (first, last) in enumerate(zip(plan.sram_first, plan.sram_last)):
        births.setdefault(first, []).append(i)
        deaths.setdefault(last, []).append(i)
    live: list[tuple[int, int]] = []  # (address, index), sorted
    out = set()
    for number, command in enumerate(program.commands):
        for i in births.get(number, ()):
            insort(live, (plan.sram_address[i], i))
        if command.engine == Engine.LOAD and command.operands[0].space == Space.CONST:
            at = bisect_right(live, (command.operands[-1].address, len(plan.sram_size))) - 1
            if at >= 0:
                out.add(live[at][1])
        for i in deaths.get(number, ()):
            live.remove((plan.sram_address[i], i))
    return out
