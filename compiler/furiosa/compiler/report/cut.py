"""Cuts a source model at tensors, as models whose operators the reference runtime runs on values that are given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.frontend.importer import extract_host_model
from furiosa.compiler.ldfg.onnx.stated import quantizes
from furiosa.enf.dtypes import ITEMSIZE


class Part(NamedTuple):
    """A model in the format of its source; names are those of the source's tensors, in the order of the part's own."""

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Cuttable:
    """A source model from which parts can be cut; tensors go by their names in the dfg, ``outputs`` those of the model."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self.outputs = tuple(t.name for t in graph.outputs)
        self._producer = {t: i for i, op in enumerate(graph.operators) for t in op.outputs}
        self._tensors = {t.name: t for t in (*graph.inputs, *self._producer) if t.name}
        first: dict[tuple, Tensor] = {}
        # of equal QuantizeLinear a program makes one: what the others make -> what the first makes
        self._equal = {
            op.outputs[0]: first.setdefault(quantizes(op), op.outputs[0])
            for op in graph.operators
            if op.op_type == "QuantizeLinear"
        }

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor that is an input or that an operator makes; None of any other name."""
        t = self._tensors.get(name)
        return None if t is None else t.shape

    def is_made(self, name: str) -> bool:
        """Whether an operator makes the tensor."""
        return self._tensors.get(name) in self._producer

    def whole(self) -> Part:
        """The model as the compiler imported it."""
        g = self._graph
        names = tuple(t.name for t in g.inputs), tuple(t.name for t in g.outputs)
        return Part(extract_host_model(g, g.operators, g.inputs, g.outputs), *names)

    def groups(self, wanted: Iterable[str], borders: Collection[str], limit: int) -> Iterator[list[str]]:
        """Divides ``wanted``, in their order, so that the tensors of each part are ``limit`` bytes at most, or one is wanted."""
        given = self._given(borders)
        group: list[str] = []
        seen: set[Tensor] = set()
        size = 0
        for name in wanted:
            operators = self._closure([self._tensors[name]], given)
            tensors = {t for op in operators for t in (*op.inputs, *op.outputs) if t is not None}
            new = sum(t.size * ITEMSIZE.get(t.dtype, 1) for t in tensors - seen)
            if group and size + new > limit:
                yield group
                group, seen, size = [], set(), 0
                new = sum(t.size * ITEMSIZE.get(t.dtype, 1) for t in tensors)
            group.append(name)
            seen |= tensors
            size += new
        if group:
            yield group

    def part(self, wanted: Sequence[str], borders: Collection[str]) -> Part:
        """What makes the ``wanted`` tensors from values of ``borders`` and of the model's inputs.

        Whoever reads a border, or what an equal QuantizeLinear makes, reads an input of the part, even where the part makes it, too.
        A wanted tensor that is no border comes from a copy of its operator, so that the runtime fuses the operators that read it as in
        the whole model.

        Raises:
            InvalidModel: a value cannot be handed over.
        """
        given = self._given(borders)
        targets = [self._tensors[n] for n in wanted]
        copied = [t for t in targets if t not in given]
        ends = [t for t in targets if t in given]
        ends += [x for t in copied for x in self._maker(t).inputs if x not in given]
        operators = [_reading(op, given) for op in self._closure(ends, given)]
        made = {t: t for t in targets}
        for t in copied:
            op = _reading(self._maker(t), given)
            op.name = f"{op.name}:copy"
            op.outputs = [replace(x, name=f"{x.name}:copy") for x in op.outputs]
            made[t] = op.outputs[self._maker(t).outputs.index(t)]
            operators.append(op)
        read = {t for op in operators for t in op.inputs}
        used = {border: t.name for t, border in reversed(given.items()) if border in read}
        model = extract_host_model(self._graph, operators, list(used), [made[t] for t in targets])
        return Part(model, tuple(used.values()), tuple(wanted))

    def _given(self, borders: Collection[str]) -> dict[Tensor, Tensor]:
        """Tensors of the model, each with the input of a part that stands for it."""
        given = {self._tensors[b]: replace(self._tensors[b]) for b in borders}
        given |= {t: given[same] for t, same in self._equal.items() if same in given}
        return given | {t: t for t in self._graph.inputs}

    def _maker(self, t: Tensor) -> Operator:
        return self._graph.operators[self._producer[t]]

    def _closure(self, ends: Iterable[Tensor | None], given: Mapping[Tensor, Tensor]) -> list[Operator]:
        """The operators that make ``ends`` of what is given, in the order of the model."""
        found: set[int] = set()
        todo = [self._producer[t] for t in ends if t in self._producer]
        while todo:
            i = todo.pop()
            if i not in found:
                found.add(i)
                reads = self._graph.operators[i].inputs
                todo += [self._producer[t] for t in reads if t in self._producer and t not in given]
        return [self._graph.operators[i] for i in sorted(found)]


def _reading(op: Operator, given: Mapping[Tensor, Tensor]) -> Operator:
    """A copy of an operator that reads what is given."""
    return replace(op, inputs=[given.get(t, t) for t in op.inputs])
