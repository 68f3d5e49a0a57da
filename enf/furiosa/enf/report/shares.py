"""Where the time of a run goes: parts that add up to its latency."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from furiosa.enf import timing
from furiosa.enf.machine import Engine
from furiosa.enf.report.text import percent
from furiosa.enf.report.timeline import Timeline

if TYPE_CHECKING:
    from furiosa.enf.performance import Performance
    from furiosa.enf.report.program import Program


class Share(NamedTuple):
    """A part of the latency; ``key`` names its colour."""

    key: str
    name: str
    us: float


def shares(program: Program, performance: Performance, timeline: Timeline) -> list[Share]:
    """The parts in the order of the page.  What the NPU takes is parted by what its engines do."""
    working, starting, moving = _npu_cycles(program, performance, timeline)
    us = 1e6 / program.target.clock_hz
    return [
        Share("npu", "NPU computes", working * us),
        Share("idle", "NPU starts commands", starting * us),
        Share("load", "NPU waits for DRAM", moving * us),
        Share("pcie", "PCIe", performance.transfer_us),
        Share("host", "host", performance.host_us),
        Share("start", "start of a run", performance.overhead_us),
    ]


def verdict(parts: list[Share], utilization: float) -> str:
    """What takes most of the time, in words; ``utilization`` is that of the multipliers over the whole run, 0 to 1."""
    most = max(parts, key=lambda s: s.us)
    total = sum(s.us for s in parts)
    if not total:
        return "This program does nothing."
    part = f"{100 * most.us / total:.0f} % of a run"
    said = {
        "npu": f"For {part} the NPU computes.",
        "idle": f"For {part} the NPU starts commands: they are many, or short.",
        "load": f"For {part} the NPU waits for data from or to DRAM: weights or activations that do not stay in SRAM.",
        "pcie": f"For {part} data cross PCIe: inputs and outputs, and what crosses between NPU and host.",
        "host": f"For {part} operators run on the host. What runs there and why stands below.",
        "start": f"{part} is what starting it costs: there is little to do. A larger batch shares that.",
    }[most.key]
    return (
        f"{said} The multipliers reach {percent(utilization)} of their peak over the whole run."
        if utilization
        else said
    )


def starting_us(program: Program) -> dict[int, float]:
    """For each source operator (index of the debug map) what starting its commands on the PE takes."""
    cost = timing.overhead_cycles(program.target) / program.target.clock_hz * 1e6
    out: dict[int, float] = {}
    for command, owner in zip(program.commands, program.debug.command_operator):
        if command.engine == Engine.PE:
            out[owner] = out.get(owner, 0.0) + cost
    return out


def _npu_cycles(program: Program, performance: Performance, timeline: Timeline) -> tuple[int, int, int]:
    """Cycles of the NPU's steps in which the PE works, in which only DMA moves data, and of the rest: starting."""
    overhead = timing.overhead_cycles(program.target)
    working = moving = total = 0
    for step in timeline.steps:
        events: list[tuple[int, int, int]] = []
        for i in range(step.first, step.first + step.count):
            engine = program.commands[i].engine == Engine.PE
            start, end = performance.spans[i]
            events += [(start, 1, engine), (end, -1, engine)]
            working += max(end - start - overhead, 0) if engine else 0
        busy = [0, 0]  # commands that run: DMA, PE
        events.sort()
        for (at, change, engine), (until, _, _) in pairwise(events):
            busy[engine] += change
            if busy[0] and not busy[1]:
                moving += until - at
        total += events[-1][0] - events[0][0]
    return working, total - working - moving, moving
