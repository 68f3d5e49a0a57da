"""One run of a program on one time axis: host, PCIe, and the engines of the NPU, in microseconds."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from furiosa.enf import dtypes
from furiosa.enf.machine import Engine, Space

if TYPE_CHECKING:
    from furiosa.enf import enf_pb2
    from furiosa.enf.isa import Command
    from furiosa.enf.performance import Performance
    from furiosa.enf.report.program import Program

HOST, PCIE, LOAD, STORE, PE, START = range(6)
LANES = ("host", "pcie", "load", "store", "npu", "start")
_LANE_OF_ENGINE = {Engine.LOAD: LOAD, Engine.STORE: STORE, Engine.PE: PE}


class Step(NamedTuple):
    """A range of commands: it starts at ``cycle`` of the NPU's clock, which is ``start_us`` of the run."""

    first: int
    count: int
    cycle: int
    start_us: float


class Piece(NamedTuple):
    """What is no command of the NPU and takes time, in microseconds of the run; ``lane`` is an index into LANES.

    START is the host's work to start a run, told apart from operators that run there.
    """

    lane: int
    name: str
    start_us: float
    end_us: float
    nbytes: int


class Timeline:
    """When what happens in one run.

    Inputs cross PCIe, then the steps of the plan follow each other, results of the NPU crossing PCIe before the part of
    the host that reads them, and at the end.  The durations are those of ``performance``; the time over PCIe is shared
    out by the bytes that cross.

    Attributes: ``steps`` of the NPU, ``pieces`` of everything else, ``end_us``, which is the latency.
    """

    def __init__(self, program: Program, performance: Performance):
        self._clock = program.target.clock_hz / 1e6  # cycles a microsecond
        self._spans = performance.spans
        self.steps: list[Step] = []
        self.pieces: list[Piece] = []
        self.end_us = 0.0
        self._add(START, "start of a run", performance.overhead_us, 0)
        crossings = _Crossings(program)
        rate = performance.transfer_us / max(crossings.total, 1)
        for i, step in enumerate(program.plan.steps):
            for name, nbytes in crossings.before[i]:
                self._add(PCIE, name, nbytes * rate, nbytes)
            if step.WhichOneof("step") == "host_call":
                self._add(HOST, "operators on the host", step.host_call.estimated_us, 0)
            elif step.commands.count:
                self._add_commands(step.commands.first, step.commands.count)
        for name, nbytes in crossings.before[-1]:
            self._add(PCIE, name, nbytes * rate, nbytes)
        self._firsts = [s.first for s in self.steps]

    def _add(self, lane: int, name: str, duration_us: float, nbytes: int) -> None:
        if duration_us > 0:
            self.pieces.append(Piece(lane, name, self.end_us, self.end_us + duration_us, nbytes))
            self.end_us += duration_us

    def _add_commands(self, first: int, count: int) -> None:
        spans = self._spans[first : first + count]
        start = min(s.start for s in spans)
        self.steps.append(Step(first, count, start, self.end_us))
        self.end_us += (max(s.end for s in spans) - start) / self._clock

    def us(self, command: int, cycle: int) -> float:
        """The time of a cycle of the NPU's clock within the step that a command is part of."""
        step = self.steps[bisect_right(self._firsts, command) - 1]
        return step.start_us + (cycle - step.cycle) / self._clock

    def step_of(self, command: int) -> int | None:
        """The index of the step that a command is part of; None for one that only runs before the first run."""
        i = bisect_right(self._firsts, command) - 1
        return i if i >= 0 and command < self.steps[i].first + self.steps[i].count else None


def lane(command: Command) -> int:
    """The lane of a command's engine."""
    return _LANE_OF_ENGINE[command.engine]


class _Crossings:
    """The tensors that cross PCIe: (name, bytes) before each step of the plan, and after the last."""

    def __init__(self, program: Program):
        steps = program.plan.steps
        self.before: list[list[tuple[str, int]]] = [[] for _ in range(len(steps) + 1)]
        made_by_host = {t.address: t for t in program.interface.inputs}
        made_by_npu: dict[int, object] = {}
        for i, step in enumerate(steps):
            if step.WhichOneof("step") == "host_call":
                for t in step.host_call.inputs:
                    self._cross(i, "from", t, made_by_npu)
                made_by_host |= {t.address: t for t in step.host_call.outputs}
                continue
            read, written = _dram_accesses(program, step.commands.first, step.commands.count)
            for t in [t for t in made_by_host.values() if _touches(read, t)]:
                self._cross(i, "to", t, made_by_host)
            tensors = [t for s in steps if s.WhichOneof("step") == "host_call" for t in s.host_call.inputs]
            for t in [*tensors, *program.interface.outputs]:
                if _touches(written, t):
                    made_by_npu[t.address] = t
        for t in program.interface.outputs:
            self._cross(len(steps), "from", t, made_by_npu)
        self.total = sum(n for tensors in self.before for _, n in tensors)

    def _cross(self, step: int, way: str, t: enf_pb2.TensorDescriptor, waiting: dict[int, object]) -> None:
        """Each tensor crosses once."""
        if waiting.pop(t.address, None) is not None:
            self.before[step].append((f"{t.name} {way} the NPU", _nbytes(t)))


def _nbytes(t: enf_pb2.TensorDescriptor) -> int:
    n = dtypes.ITEMSIZE.get(dtypes.NAME.get(t.dtype, ""), 1)
    for d in t.shape:
        n *= d
    return n


def _dram_accesses(program: Program, first: int, count: int) -> tuple[list[int], list[int]]:
    """The addresses in working DRAM at which commands read and write, each sorted."""
    read, written = set(), set()
    for c in program.commands[first : first + count]:
        for region, spec in zip(c.operands, c.instruction.operands):
            if region.space == Space.DRAM:
                (read if spec.access == "r" else written).add(region.address)
    return sorted(read), sorted(written)


def _touches(addresses: list[int], t: enf_pb2.TensorDescriptor) -> bool:
    """Whether one of the addresses lies in a tensor in working DRAM."""
    if t.space != Space.DRAM:
        return False
    i = bisect_right(addresses, t.address - 1)
    return i < len(addresses) and addresses[i] < t.address + _nbytes(t)
