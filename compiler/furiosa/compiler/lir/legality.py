"""What a lir must be.

- Setup and the plan's ranges of commands follow each other and are all commands.
- A command waits only for commands that stand before it, and its operands suit its instruction.
- Buffers lie within their memory, and no two that live at the same time share a byte.

The verifier of the ENF proves more (reads after writes, no races), from the file alone.
"""

from __future__ import annotations

import heapq

from furiosa.compiler.dfg.legality import Illegal
from furiosa.compiler.lir.linear import Linear
from furiosa.compiler.program import NpuStep, Step
from furiosa.enf import hazards
from furiosa.enf.isa import Engine
from furiosa.enf.target import Target


def check(linear: Linear, steps: list[Step], target: Target) -> None:
    """Checks the rules above.

    Raises:
        Illegal: a rule is broken.
    """
    done = linear.setup
    for step in steps:
        if isinstance(step, NpuStep):
            if step.first != done:
                raise Illegal("lir", f"a range of commands starts at {step.first}, not at {done}")
            done += step.count
    if done != len(linear.commands):
        raise Illegal("lir", f"the plan runs {done} of {len(linear.commands)} commands")
    _check_commands(linear)
    _check_sram(linear, target)
    at = 0
    for b in sorted(linear.dram, key=linear.addresses.__getitem__):
        if linear.addresses[b] < at:
            raise Illegal("lir", f"buffer '{b.name}' shares bytes of DRAM with another")
        at = linear.addresses[b] + max(b.size, 1)
    if at > linear.dram_bytes:
        raise Illegal("lir", f"a buffer ends at byte {at} of the {linear.dram_bytes} of DRAM")


def _check_commands(linear: Linear) -> None:
    issued = [0] * Engine.COUNT
    for i, c in enumerate(linear.commands):
        if any(wait > count for wait, count in zip(c.waits, issued)):
            raise Illegal(
                "lir",
                f"command {i} ({c.instruction}) waits for {c.waits} where {tuple(issued)} have been issued",
            )
        problem = c.instruction.check(*c.operands, **c.arguments)
        if problem:
            raise Illegal("lir", f"command {i} ({c.instruction}): {problem}")
        issued[c.engine] += 1


def _check_sram(linear: Linear, target: Target) -> None:
    sram = hazards.Memory("SRAM", target.sram_bytes)
    live: list[tuple[int, int, hazards.Buffer]] = []  # a heap: the last command of each
    for i, x in enumerate(sorted(linear.sram, key=lambda x: x.first)):
        while live and live[0][0] < x.first:
            sram.close(heapq.heappop(live)[-1])
        if x.address < 0 or x.first > x.last:
            raise Illegal("lir", f"buffer '{x.buffer.name}' lies at {x.address}, {x.first} to {x.last}")
        try:
            heapq.heappush(live, (x.last, i, sram.open(x.buffer.name, x.address, x.buffer.size)))
        except hazards.Overlap as e:
            raise Illegal("lir", str(e)) from None
