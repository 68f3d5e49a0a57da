"""Dumps of gir and lir."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.dump.text import quote
from furiosa.compiler.gir.tile import Buffer, Work
from furiosa.compiler.lir.linear import Linear
from furiosa.compiler.lir.segment import Segment
from furiosa.compiler.program import NpuStep, Step
from furiosa.enf.isa import BY_NAME, Command, Engine, Instruction, Region, Space
from furiosa.enf.target import Target


def gir(segments: dict[Cluster, Segment], target: Target) -> Iterator[str]:
    """For each NPU cluster its operators, its work in order on buffers without addresses, and how long each buffer lives."""
    yield f"gir for {target.name}: {len(segments)} NPU clusters"
    for number, segment in enumerate(segments.values()):
        buffers = _BufferNames()
        yield f"NPU cluster {number}"
        operators, lines = _operators(w.operator for w in segment.works)
        yield from lines
        yield "work"
        for i, w in enumerate(segment.works):
            yield f"  {i} #{operators[w.operator]} {Engine.NAMES[w.engine]}: {_work(w, buffers)}"
        yield "buffers in SRAM, from their first to their last work"
        for x in segment.lifetimes:
            yield f"  {buffers(x.buffer)} {x.buffer.size} bytes, {x.first} to {x.last} {quote(x.buffer.name)}"
        yield "buffers elsewhere, or resident in SRAM"
        for buffer in buffers.elsewhere:
            yield f"  {buffers(buffer)} {buffer.size} bytes {quote(buffer.name)}"


def lir(linear: Linear, steps: list[Step], target: Target) -> Iterator[str]:
    """The plan, the operators, the buffers with addresses, and the commands with what each waits for."""
    yield f"lir for {target.name}: {len(linear.commands)} commands, {linear.sram_peak} bytes of SRAM, {linear.dram_bytes} of DRAM"
    yield "plan"
    if linear.setup:
        yield f"  once {linear.setup} commands from 0"
    for step in steps:
        if isinstance(step, NpuStep):
            yield f"  npu {step.count} commands from {step.first}"
        else:
            names = " ".join(quote(op.name) for op in step.cluster.operators)
            yield f"  host {len(step.cluster.operators)} operators, a model of {len(step.model)} bytes: {names}"
    operators, lines = _operators(linear.operators)
    yield from lines
    yield "buffers in DRAM"
    for b in linear.dram:
        yield f"  0x{linear.addresses[b]:x} {b.size} bytes {quote(b.name)}"
    yield "buffers in SRAM, from their first to their last command"
    for x in linear.sram:
        yield f"  0x{x.address:x} {x.buffer.size} bytes, {x.first} to {x.last} {quote(x.buffer.name)}"
    yield "commands"
    for i, (c, op) in enumerate(zip(linear.commands, linear.operators)):
        yield f"  {i} #{operators[op]} {Engine.NAMES[c.engine]}{_waits(c)}: {_command(c)}"


def _operators(used: Iterable[Operator]) -> tuple[dict[Operator, int], list[str]]:
    """Numbers for the operators that work is done for, and the lines that say which is which."""
    numbers: dict[Operator, int] = {}
    for op in used:
        numbers.setdefault(op, len(numbers))
    return numbers, ["operators", *(f"  #{i} {op.op_type} {quote(op.name)}" for op, i in numbers.items())]


class _BufferNames:
    """``sram3``, ``dram3``, ``const0``, numbered in the order of first use."""

    def __init__(self) -> None:
        self._names: dict[Buffer, str] = {}
        self._count = [0] * len(Space.NAMES)
        self.elsewhere: list[Buffer] = []  # than in SRAM, or resident there

    def __call__(self, b: Buffer) -> str:
        name = self._names.get(b)
        if name is None:
            name = self._names[b] = Space.NAMES[b.space] + str(self._count[b.space])
            self._count[b.space] += 1
            if b.space != Space.SRAM or b.is_resident:
                self.elsewhere.append(b)
        return name


def _work(w: Work, buffers: _BufferNames) -> str:
    """A work with its operands as places in buffers: ``sram3[0x40]:int8[1x8x8x16]``."""
    operands = []
    for v in w.operands:
        place = repr(Region(v.buffer.space, v.dtype, v.offset, v.shape, v.strides))
        operands.append(buffers(v.buffer) + place[place.index("[") :])
    return _call(BY_NAME[w.instruction], operands, w.params)


def _command(c: Command) -> str:
    return _call(c.instruction, [repr(r) for r in c.operands], c.arguments)


def _call(instruction: Instruction, operands: list[str], params: dict[str, int | float]) -> str:
    named = [f"{spec.name}={text}" for spec, text in zip(instruction.operands, operands)]
    return " ".join([instruction.name, *named, *(f"{name}={value}" for name, value in params.items())])


def _waits(c: Command) -> str:
    """The commands of other engines that must have ended, by how many of the engine's have."""
    waits = [f"{Engine.NAMES[e]} {n}" for e, n in enumerate(c.waits) if n]
    return f" after {', '.join(waits)}" if waits else ""
