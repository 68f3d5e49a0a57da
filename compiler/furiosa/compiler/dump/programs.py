"""Dumps of gir and lir."""

from __future__ import annotations

from collections.abc import Iterator

from furiosa.compiler.cdfg.cluster import Cluster
from furiosa.compiler.dump.text import quote
from furiosa.compiler.gir.tile import Buffer, View
from furiosa.compiler.lir.linear import Linear, Segment
from furiosa.compiler.program import NpuStep, Step
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import BY_NAME, Command, Engine, Instruction, Space, dense_strides
from furiosa.enf.target import Target


def gir(segments: dict[Cluster, Segment], target: Target) -> Iterator[str]:
    """For each NPU cluster its work in order, on buffers without addresses, and from when to when each lives in SRAM."""
    yield f"gir for {target.name}: {len(segments)} NPU clusters"
    for number, segment in enumerate(segments.values()):
        names = _BufferNames()
        yield f"NPU cluster {number}: {len(segment.works)} works, at most {segment.sram_peak} bytes of SRAM"
        for i, w in enumerate(segment.works):
            row = BY_NAME[w.instruction]
            operands = [f"{o.name}={_view(v, names)}" for o, v in zip(row.operands, w.operands)]
            yield f"  {i} {Engine.NAMES[w.engine]} {_call(row, operands, w.params)} {quote(w.operator.name)}"
        yield "  lives"
        for x in segment.lifetimes:
            yield f"    {names(x.buffer)} {x.buffer.size} bytes, {x.first} to {x.last}, {quote(x.buffer.name)}"
        for buffer in names.others:
            yield f"    {names(buffer)} {buffer.size} bytes, {quote(buffer.name)}"


def lir(linear: Linear, steps: list[Step], target: Target) -> Iterator[str]:
    """The plan, the buffers with addresses, and the commands with what each waits for."""
    yield f"lir for {target.name}: {len(linear.commands)} commands, {linear.sram_peak} bytes of SRAM, {linear.dram_bytes} of DRAM"
    yield "plan"
    for step in steps:
        if isinstance(step, NpuStep):
            yield f"  npu {step.count} commands from {step.first}"
        else:
            names = " ".join(quote(op.name) for op in step.cluster.operators)
            yield f"  host {len(step.cluster.operators)} operators, a model of {len(step.model)} bytes: {names}"
    yield "dram"
    for b in linear.dram:
        yield f"  0x{linear.addresses[b]:x} {b.size} bytes, {quote(b.name)}"
    yield "sram"
    for x in linear.sram:
        yield f"  0x{x.address:x} {x.buffer.size} bytes, {x.first} to {x.last}, {quote(x.buffer.name)}"
    yield "commands"
    for i, (c, op) in enumerate(zip(linear.commands, linear.operators)):
        operands = [f"{o.name}={r!r}" for o, r in zip(c.instruction.operands, c.operands)]
        yield f"  {i} {Engine.NAMES[c.engine]} {_call(c.instruction, operands, c.arguments)}{_waits(c)} {quote(op.name)}"


class _BufferNames:
    """``sram3``, ``dram3``, ``const``, numbered in the order of first use."""

    def __init__(self) -> None:
        self._names: dict[Buffer, str] = {}
        self._count = [0] * len(Space.NAMES)
        self.others: list[Buffer] = []  # buffers outside SRAM

    def __call__(self, b: Buffer) -> str:
        name = self._names.get(b)
        if name is None:
            name = self._names[b] = Space.NAMES[b.space] + str(self._count[b.space])
            self._count[b.space] += 1
            if b.space != Space.SRAM:
                self.others.append(b)
        return name


def _view(v: View, names: _BufferNames) -> str:
    offset = f"+0x{v.offset:x}" if v.offset else ""
    shape = "x".join(map(str, v.shape))
    dense = dense_strides(v.shape, ITEMSIZE[v.dtype])
    is_dense = all(s == d or n == 1 for n, s, d in zip(v.shape, v.strides, dense))
    strides = "" if is_dense else "/" + ",".join(map(str, v.strides))
    return f"{names(v.buffer)}{offset}:{v.dtype}[{shape}]{strides}"


def _call(instruction: Instruction, operands: list[str], params: dict[str, int | float]) -> str:
    return f"{instruction.name}({', '.join([*operands, *(f'{n}={params[n]}' for n in instruction.param_names)])})"


def _waits(c: Command) -> str:
    waits = [f"{Engine.NAMES[e]} {n}" for e, n in enumerate(c.waits) if n]
    return f" after {', '.join(waits)}" if waits else ""
