"""Where a compiled program puts each tensor of the source model together, for who looks into a run (``furiosa compare``)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.gir.tile import Buffer
from furiosa.compiler.lir.segment import Segment
from furiosa.compiler.pipeline import Compilation
from furiosa.compiler.program import NpuStep
from furiosa.enf.dtypes import ITEMSIZE
from furiosa.enf.isa import Space


class Piece(NamedTuple):
    """Bytes ``start`` to ``end`` of a dense tensor, in the simulated memory from ``address`` on.

    They are there once ``command`` (an index into the program's commands) has ended, and any later one may overwrite them; None in
    a step of the host, where they are there once the step has ended.  ``space`` is a code of furiosa.enf.isa.Space.
    """

    command: int | None
    space: int
    address: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """A dense tensor in the simulated memory: its pieces in the order of their commands, in step ``step`` of the plan.

    ``dtype`` is a numpy name.  What lies there is the source's tensor with the axes in another order, which ``perm`` puts
    back, and where ``is_shifted`` with 128 taken off each value.
    """

    step: int
    pieces: tuple[Piece, ...]
    dtype: str
    shape: tuple[int, ...]
    perm: tuple[int, ...] | None
    is_shifted: bool


class _At(NamedTuple):
    """The first fields of a place."""

    step: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A tensor that an operator of the source model makes.

    ``unit`` is what one step of the integers is worth where a float tensor holds integers times a scale, else None.  ``reason``
    says why there is no ``place``.  ``outer`` says how the samples of a batch lie in their dimension, see
    furiosa.compiler.frontend.batch.Along.  For a QuantizeLinear ``computes`` names the operators between it and the quantised tensors
    before.
    """

    operator: str
    op_type: str
    computes: tuple[str, ...]
    placed_on: str
    tensor: str
    dtype: str
    shape: tuple[int, ...]
    unit: float | None
    place: Place | None
    reason: str
    outer: int

    @property
    def is_border(self) -> bool:
        """Whether what reads the tensor can be computed of its value alone: it has a place, and is no real number that stands for
        an integer, for what reads such a one is fused with what makes it.
        """
        is_real = self.dtype.startswith("float")
        return self.place is not None and (
            not is_real or self.placed_on == "host" and self.op_type not in _TO_REAL
        )


_TO_REAL = ("DEQUANTIZE", "DequantizeLinear")

ON_HOST = "inside a part of the model that the reference runtime itself runs on the host"
BETWEEN = "a real number between quantised tensors, which the NPU never makes"
MERGED = "never whole on the NPU: made together with what follows, or of no use to any output"
FOREIGN = (
    "the program is not what this compiler makes of the source, so where it puts the tensor is not known"
)


def layers(compilation: Compilation) -> list[Layer]:
    """All tensors that operators make, in the order of the operators; of a compilation that has run to its end."""
    made = _made(compilation)
    out = []
    for layer, op, t in _outputs(compilation.ldfg.graph):
        placed_on = compilation.ldfg.verdicts[op].placed_on
        place = _place(compilation, t, made)
        reason = ""
        if place is None:
            reason = ON_HOST if placed_on == "host" else BETWEEN if t.dtype.startswith("float") else MERGED
        out.append(replace(layer, placed_on=placed_on, place=place, reason=reason))
    return out


def layers_of_graph(graph: Graph) -> list[Layer]:
    """The same of a model that is only imported: nothing is known of its program."""
    return [replace(layer, reason=FOREIGN) for layer, _, _ in _outputs(graph)]


def input_ranges(graph: Graph) -> list[tuple[float, float] | None]:
    """For each input the (least, greatest) value that its quantisation holds, or None where nothing quantises it."""
    return [_range(graph, t) for t in graph.inputs]


def output_units(graph: Graph) -> list[float | None]:
    """For each output ``Layer.unit``."""
    producer = {t: op for op in graph.operators for t in op.outputs}
    return [_unit(producer[t]) if t in producer else None for t in graph.outputs]


def _outputs(graph: Graph) -> list[tuple[Layer, Operator, Tensor]]:
    """The tensors that operators make of anything but constants."""
    producer = {t: op for op in graph.operators for t in op.outputs}
    found = []
    for op in graph.operators:
        if all(t is None or t.is_constant for t in op.inputs):
            continue
        for t in op.outputs:
            if t.name and not t.is_constant:
                layer = Layer(
                    op.name,
                    op.op_type,
                    _computes(op, producer),
                    "",
                    t.name,
                    t.dtype,
                    t.shape,
                    _unit(op),
                    None,
                    "",
                    graph.samples.get(t.name, (0, 1))[1],
                )
                found.append((layer, op, t))
    return found


def _computes(op: Operator, producer: dict[Tensor, Operator]) -> tuple[str, ...]:
    """The op types of the group that ends with a QuantizeLinear, along first inputs, in the order of computation."""
    chain: list[str] = []
    if op.op_type == "QuantizeLinear":
        before = producer.get(op.inputs[0])
        while before is not None and before.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            chain.insert(0, before.op_type)
            before = (
                producer.get(before.inputs[0]) if before.inputs and before.inputs[0] is not None else None
            )
    return tuple(chain)


def _made(compilation: Compilation) -> dict[Tensor, _At]:
    """Where each lowered tensor is whole first."""
    made: dict[Tensor, _At] = {}
    npu = [c for c in compilation.cdfg if c.kind == "npu"]
    for index, step in enumerate(compilation.steps):
        if isinstance(step, NpuStep):
            segment = compilation.gir[npu.pop(0)]
            last = _last_writes(segment)
            for t, home in segment.homes.items():
                if all(buffer in last for buffer, _, _ in home):
                    pieces = (
                        Piece(
                            step.first + last[buffer],
                            buffer.space,
                            compilation.lir.addresses[buffer],
                            start,
                            end,
                        )
                        for buffer, start, end in home
                    )
                    made.setdefault(t, _At(index, tuple(sorted(pieces))))
        else:
            for t in step.cluster.outputs:
                buffer = compilation.dram[t]
                address = compilation.lir.addresses[buffer]
                made[t] = _At(index, (Piece(None, Space.DRAM, address, 0, buffer.size),))
    return made


def _last_writes(segment: Segment) -> dict[Buffer, int]:
    return {w.operands[-1].buffer: i for i, w in enumerate(segment.works)}


def _place(compilation: Compilation, t: Tensor, made: dict[Tensor, _At]) -> Place | None:
    """The form of a source tensor that is whole first."""
    found = []
    for form, perm in compilation.ldfg.forms(t):
        is_shifted = form.dtype == "int8" and t.dtype == "uint8"
        if form in made and (is_shifted or form.dtype == t.dtype) and form.dtype in ITEMSIZE:
            found.append(Place(*made[form], form.dtype, form.shape, perm, is_shifted))
    return min(found, key=lambda p: (p.step, p.pieces[-1].command or 0), default=None)


def _unit(op: Operator) -> float | None:
    scale = None
    if op.op_type == "DEQUANTIZE" and op.inputs[0].quantization is not None:
        scale = op.inputs[0].quantization.scale
    elif op.op_type == "DequantizeLinear" and op.inputs[1].is_constant:
        scale = op.inputs[1].data
    return float(scale.reshape(-1)[0]) if scale is not None and scale.size == 1 else None


def _range(graph: Graph, t: Tensor) -> tuple[float, float] | None:
    if t.dtype in ("int8", "uint8"):
        limits = np.iinfo(t.dtype)
        return float(limits.min), float(limits.max)
    for op in graph.operators:
        if t in op.inputs[:1] and op.op_type == "QUANTIZE" and op.outputs[0].quantization is not None:
            q = op.outputs[0].quantization
            return _reals(q.scale, q.zero_point, op.outputs[0].dtype)
        if t in op.inputs[:1] and op.op_type == "QuantizeLinear" and op.inputs[1].is_constant:
            zero = op.inputs[2].data if len(op.inputs) > 2 and op.inputs[2] is not None else None
            return _reals(op.inputs[1].data, zero, op.outputs[0].dtype)
    return None


def _reals(scale: np.ndarray, zero_point: np.ndarray | None, dtype: str) -> tuple[float, float] | None:
    if scale.size != 1 or dtype not in ("int8", "uint8", "int16", "uint16"):
        return None
    limits = np.iinfo(dtype)
    zero = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
    step = float(scale.reshape(-1)[0])
    return (int(limits.min) - zero) * step, (int(limits.max) - zero) * step
