"""Where the time of a run goes: parts that add up to its latency."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from furiosa.enf.machine import Engine
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
    computing, moving, idle = _npu_cycles(program, performance, timeline)
    us = 1e6 / program.target.clock_hz
    return [
        Share("npu", "NPU computes", computing * us),
        Share("load", "NPU waits for DRAM", moving * us),
        Share("idle", "NPU changes over", idle * us),
        Share("pcie", "PCIe", performance.transfer_us),
        Share("host", "host", performance.host_us),
        Share("static", "start of a run", performance.overhead_us),
    ]


def verdict(parts: list[Share], utilization: float) -> str:
    """One sentence that says what takes most of the time."""
    most = max(parts, key=lambda s: s.us)
    total = sum(s.us for s in parts)
    if not total:
        return "This program does nothing."
    part = f"{100 * most.us / total:.0f} % of a run"
    return {
        "npu": f"For {part} the NPU computes, at {100 * utilization:.0f} % of the peak of its multipliers.",
        "load": f"For {part} the NPU waits for data from or to DRAM: weights or activations that do not stay in SRAM.",
        "idle": f"For {part} the NPU changes from command to command: its commands are short.",
        "pcie": f"For {part} data cross PCIe: inputs and outputs, and what crosses between NPU and host.",
        "host": f"For {part} operators run on the host. What runs there and why stands below.",
        "static": f"{part[0].upper()}{part[1:]} is what starting it costs: there is little to do. A larger batch shares that.",
    }[most.key]


def _npu_cycles(program: Program, performance: Performance, timeline: Timeline) -> tuple[int, int, int]:
    """Cycles of the NPU's steps in which the PE computes, in which only a DMA engine moves data, and of the rest."""
    computing = moving = total = 0
    for step in timeline.steps:
        events: list[tuple[int, int, int]] = []
        for i in range(step.first, step.first + step.count):
            engine = program.commands[i].engine == Engine.PE
            start, end = performance.spans[i]
            events += [(start, 1, engine), (end, -1, engine)]
        busy = [0, 0]  # commands that run: DMA, PE
        events.sort()
        for (at, change, engine), (until, _, _) in pairwise(events):
            busy[engine] += change
            if busy[1]:
                computing += until - at
            elif busy[0]:
                moving += until - at
        total += events[-1][0] - events[0][0]
    return computing, moving, total - computing - moving
