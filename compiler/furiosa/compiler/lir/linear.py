"""Stage gir -> lir: commands, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from furiosa.compiler import limits
from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.errors import OutOfDram
from furiosa.compiler.gir.tile import ALIGNMENT, Buffer, Work
from furiosa.compiler.lir.allocate import Lifetime, peak_bytes
from furiosa.compiler.lir.segment import Segment
from furiosa.enf import hazards
from furiosa.enf.isa import BY_NAME, Command, Region, Space
from furiosa.enf.target import Target


@dataclass(slots=True)
class Linear:
    """The lir of a program: commands, the source of each, SRAM buffers by command, DRAM buffers with addresses."""

    commands: list[Command] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)  # for each command the lowered operator
    sram: list[Lifetime] = field(default_factory=list)
    dram: list[Buffer] = field(default_factory=list)
    addresses: dict[Buffer, int] = field(default_factory=dict)
    dram_bytes: int = 0
    sram_peak: int = 0
    setup: int = 0  # so many of the first commands run once
    resident_bytes: int = 0  # of SRAM, from address 0 on, that they fill for every run

    @property
    def sram_lower_bound(self) -> int:
        """The most bytes of SRAM that live at one time: no addresses can need less."""
        return peak_bytes(self.sram)[0]


def out_of_memory(target: Target) -> str:
    """The sentence about a program that host memory cannot help either."""
    return (
        f"the program needs more than {target.memory_bytes} bytes, the {target.dram_bytes} of DRAM of {target.name} and three "
        "times as many of host memory: use a smaller batch"
    )


class Linearizer:
    """Turns segments into commands, one after the other."""

    def __init__(self, target: Target):
        self.linear = Linear()
        self._clocks = hazards.Clocks()
        self._sram = hazards.Memory("sram", target.sram_bytes)
        self._target = target
        self._dram = hazards.Memory("dram", target.memory_bytes)
        self._open: dict[Buffer, hazards.Buffer] = {}

    def dram_buffer(self, buffer: Buffer) -> int:
        """The address of a DRAM buffer, given at its first use.

        Raises:
            OutOfDram: not even host memory is left, or there are too many buffers.
        """
        lin = self.linear
        if buffer not in lin.addresses:
            if buffer.size > self._target.memory_bytes - lin.dram_bytes:
                raise OutOfDram(out_of_memory(self._target))
            if len(lin.dram) == hazards.MAX_LIVE:
                raise OutOfDram(
                    f"the program needs more than {hazards.MAX_LIVE} tensors in DRAM: those that cross between host and NPU, and those "
                    "that SRAM does not hold; split the model"
                )
            lin.addresses[buffer] = lin.dram_bytes
            self._open[buffer] = self._dram.open(buffer.name, lin.dram_bytes, max(buffer.size, 1))
            lin.dram_bytes += -(-max(buffer.size, 1) // ALIGNMENT) * ALIGNMENT
            lin.dram.append(buffer)
        return lin.addresses[buffer]

    def setup(self, works: Iterable[Work]) -> None:
        """Begins the program with what runs once: loads of residents."""
        lin = self.linear
        for work in works:
            buffer = work.operands[1].buffer
            address = lin.addresses[buffer] = lin.resident_bytes
            self._open[buffer] = self._sram.open(buffer.name, address, buffer.size)
            lin.sram.append(Lifetime(buffer, len(lin.commands), len(lin.commands), address))
            lin.commands.append(self._command(work))
            lin.operators.append(work.operator)
            lin.resident_bytes += -(-buffer.size // ALIGNMENT) * ALIGNMENT
        self._clocks.barrier()
        lin.setup = len(lin.commands)
        lin.sram_peak = lin.resident_bytes

    def segment(self, segment: Segment) -> tuple[int, int]:
        """Appends a segment; returns (first command, number of commands).

        Raises:
            OutOfDram: as ``dram_buffer``.
            TooLarge: there are more commands than a program may have.
        """
        lin = self.linear
        first = len(lin.commands)
        limits.check_commands(first + len(segment.works))
        births: dict[int, list[Lifetime]] = {}
        deaths: dict[int, list[Lifetime]] = {}
        for x in segment.lifetimes:
            births.setdefault(x.first, []).append(x)
            deaths.setdefault(x.last, []).append(x)
        for i, work in enumerate(segment.works):
            for x in births.get(i, ()):
                address = lin.addresses[x.buffer] = lin.resident_bytes + x.address
                self._open[x.buffer] = self._sram.open(x.buffer.name, address, x.buffer.size)
                lin.sram.append(Lifetime(x.buffer, first + x.first, first + x.last, address))
            lin.commands.append(self._command(work))
            lin.operators.append(work.operator)
            for x in deaths.get(i, ()):
                self._sram.close(self._open.pop(x.buffer))
        self._clocks.barrier()
        lin.sram_peak = max(lin.sram_peak, lin.resident_bytes + segment.sram_peak)
        return first, len(segment.works)

    def finish(self) -> Linear:
        """The whole program: what is resident lives until its end."""
        for x in self.linear.sram[: self.linear.setup]:
            x.last = len(self.linear.commands) - 1
        return self.linear

    def _command(self, work: Work) -> Command:
        row = BY_NAME[work.instruction]
        regions = []
        accesses = []
        clock = self._clocks.at_start(work.engine, hazards.ZERO)
        needed = hazards.ZERO
        for view, spec in zip(work.operands, row.operands):
            space = view.buffer.space
            if space == Space.CONST:
                base = 0
            elif space == Space.DRAM:
                base = self.dram_buffer(view.buffer)
            else:
                base = self.linear.addresses[view.buffer]
            region = Region(space, view.dtype, base + view.offset, view.shape, view.strides)
            regions.append(region)
            if space == Space.CONST:
                continue
            tracked = self._open[view.buffer]
            start, end = region.address, region.address + region.extent
            if spec.access == "r":
                needed = hazards.join(needed, tracked.needed_to_read(clock, start, end))
            else:
                needed = hazards.join(needed, tracked.needed_to_write(clock, start, end))
            accesses.append((spec.access, tracked, region, start, end))
        waits = tuple(n if n > known else 0 for n, known in zip(needed, clock))
        index = self._clocks.issue(work.engine, self._clocks.at_start(work.engine, waits))
        for access, tracked, region, start, end in accesses:
            if access == "r":
                tracked.read(work.engine, index, start, end)
            else:
                tracked.write(work.engine, index, start, end, region)
        return Command(row, work.engine, waits, tuple(regions), tuple(work.params.values()))
