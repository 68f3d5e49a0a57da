"""Applies a batch size to an imported graph: dimension 0 of every input and output is multiplied.

An operator keeps samples apart if its result for a batch holds the results of its samples at known places, wherever its inputs hold
theirs.  A tensor holds them along one dimension (``Along``): dimension 0 at the borders of the model; in between it moves as
operators move it (a Transpose to time-major order, the heads of an attention layer), and may be joined with others (the L * N rows of a
MultiheadAttention).  Each frontend has a table of rules, one for every operator type of which that can be shown; a rule says where its
outputs have the samples.  An operator without a rule, or whose rule says no, makes the batch size impossible.

What a Reshape of one sample means for a batch can be open: of [5, 1, 8] to [5, 8] it makes [5 * N, 8] or [5, N * 8], both with the same
elements in the same order.  One is tried, and the other where what follows cannot keep the samples of the first apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel

MAX_TENSOR_BYTES = 2**31 - 1
_WORK = 50  # how often, on the average, an operator may be gone through

# Operators of one value that may run once more on a repeated constant: a constant is often stored quantised.
_OF_CONSTANTS = {"Cast", "DequantizeLinear", "QuantizeLinear", "CAST", "DEQUANTIZE", "QUANTIZE"}


class Mixed(Exception):
    """Why an operator cannot keep samples apart: a clause that follows its name."""


class Along(NamedTuple):
    """Where a tensor has its samples: dimension ``axis`` of one sample has ``outer`` groups of elements, and each becomes as many groups,
    one after the other, as there are samples.  With ``outer`` 1 the samples follow one another.
    """

    axis: int
    outer: int = 1


class Batch:
    """The batch size, and which tensors grow with it.  Shapes are still those of one sample while rules run."""

    def __init__(self, size: int, graph: Graph) -> None:
        self.size = size
        self.tensors: dict[int, tuple[Tensor, Along]] = {}
        self.operators: list[Operator] = []  # in order, with those that `repeat` adds
        self._producers = {id(t): op for op in graph.operators for t in op.outputs}
        self._choices: dict[int, tuple[int, int]] = {}  # by an operator's index: which of how many places
        self._index = 0

    def __contains__(self, tensor: Tensor | None) -> bool:
        return id(tensor) in self.tensors

    def place(self, tensor: Tensor) -> Along:
        """Where a tensor has its samples."""
        return self.tensors[id(tensor)][1]

    def axis(self, tensor: Tensor) -> int:
        """The dimension along which a tensor has its samples."""
        return self.place(tensor).axis

    def outer(self, op: Operator) -> int:
        """``Along.outer`` of what an operator reads.

        Raises:
            Mixed: it is not the same for all.
        """
        found = {self.place(t).outer for t in op.inputs if t in self}
        if len(found) != 1:
            raise Mixed("joins tensors that have their samples in another order")
        return found.pop()

    def add(self, tensor: Tensor, place: Along) -> None:
        self.tensors[id(tensor)] = tensor, place

    def begin(self, index: int) -> None:
        """The operator of this index is at hand."""
        self._index = index

    def choose(self, places: Sequence[Along]) -> Along:
        """One of several places that the result of the operator at hand may have."""
        chosen, _ = self._choices.get(self._index, (0, 0))
        self._choices[self._index] = chosen, len(places)
        return places[chosen]

    def has_more(self, index: int) -> bool:
        """Whether the operator of an index had a choice that is not used up."""
        chosen, count = self._choices.get(index, (0, 0))
        return chosen + 1 < count

    def take_next(self, index: int, forget: Iterable[int]) -> None:
        """The next choice for the operator of an index; those of the operators to ``forget`` are open again."""
        chosen, count = self._choices[index]
        self._choices[index] = chosen + 1, count
        for i in forget:
            self._choices.pop(i, None)

    def change(self, op: Operator, position: int, data: np.ndarray) -> None:
        """Gives an operator a constant of its own in place of one that others may share."""
        op.inputs[position] = self._constant(op, op.inputs[position], data)

    def repeat(self, op: Operator, position: int, axis: int) -> None:
        """Repeats an input that is the same for all samples along ``axis``, once for every sample, as the operator's other inputs.

        Raises:
            Mixed: it is not constant, or would be too large.
        """
        op.inputs[position] = self._repeated(op, op.inputs[position], Along(axis, self.outer(op)))

    def _constant(self, op: Operator, old: Tensor, data: np.ndarray) -> Tensor:
        data = np.ascontiguousarray(data, dtype=old.data.dtype)
        data.flags.writeable = False
        return Tensor(self._name(old.name, op), data.shape, old.dtype, old.quantization, data)

    def _name(self, name: str, op: Operator) -> str:
        return f"{name}:batch{self.size}:{op.name}"

    def _repeated(self, op: Operator, tensor: Tensor, place: Along) -> Tensor:
        axis = place.axis
        producer = self._producers.get(id(tensor))
        if (
            producer is not None
            and producer.op_type in _OF_CONSTANTS
            and not any(t in self for t in producer.inputs)
            and producer.inputs[0].shape == tensor.shape
        ):
            if any(t is not None and t.size > 1 for t in producer.inputs[1:]):
                raise Mixed(f'joins "{tensor.name}", which has several scales')
            shape = (*tensor.shape[:axis], tensor.shape[axis] * self.size, *tensor.shape[axis + 1 :])
            copy = Tensor(self._name(tensor.name, op), shape, tensor.dtype, tensor.quantization)
            inputs = [self._repeated(op, producer.inputs[0], place), *producer.inputs[1:]]
            name = self._name(producer.name, op)
            self.operators.append(
                Operator(name, producer.op_type, inputs, [copy], dict(producer.attributes), producer.source)
            )
            return copy
        if not tensor.is_constant or tensor.data.shape != tensor.shape:
            raise Mixed(f'joins "{tensor.name}", which is the same for all samples and not constant')
        if tensor.quantization is not None and tensor.quantization.axis == axis:
            raise Mixed(f'joins "{tensor.name}", which has several scales')
        if tensor.data.nbytes * self.size > MAX_TENSOR_BYTES:
            raise Mixed(f'would need "{tensor.name}" repeated to more than 2 GiB')
        return self._constant(op, tensor, _repeat(tensor.data, place, self.size))


Rule = Callable[[Operator, Batch], int | Along | Sequence[int | Along]]
"""Gives where the outputs have the samples (each, if it is a list): a dimension, with ``outer`` as in the inputs, or an Along.  May
change the operator's inputs and attributes; raises Mixed."""


def apply_batch(graph: Graph, size: int, rules: dict[str, Rule]) -> None:
    """Multiplies dimension 0 of every input and output, and of what lies between the dimension that has the samples.

    ``graph.samples`` gets the place of every tensor that grows.

    Raises:
        InvalidModel: an input has no dimension 0, or an operator mixes samples.
    """
    batch = Batch(size, graph)
    for tensor in graph.inputs:
        if not tensor.shape:
            hint = "give the input a first dimension for the batch"
            raise _refused(size, tensor, "the input is a scalar", hint)
        batch.add(tensor, Along(0))
    _Search(graph, batch, rules).run()
    graph.operators = batch.operators
    for i, tensor in enumerate(graph.outputs):
        if tensor not in batch:
            graph.outputs[i] = _repeated_output(tensor, size)
            if graph.outputs[i] is None:
                raise _refused(size, tensor, "the output does not depend on the inputs")
    for tensor, (axis, _) in batch.tensors.values():
        if not tensor.name and not tensor.shape:  # an output that is left out
            continue
        tensor.shape = (*tensor.shape[:axis], tensor.shape[axis] * size, *tensor.shape[axis + 1 :])
        if math.prod(d or 1 for d in tensor.shape) > MAX_TENSOR_BYTES:
            shape = list(tensor.shape)
            raise _refused(size, tensor, f"its shape would be {shape}, beyond 2 GiB", "a smaller one")
    graph.samples = {t.name: place for t, place in batch.tensors.values() if t.name}


class _Search:
    """Goes through the operators in order and, where one mixes samples, back to the last choice that this depends on."""

    def __init__(self, graph: Graph, batch: Batch, rules: dict[str, Rule]):
        self._graph, self._batch, self._rules = graph, batch, rules
        self._producer = {id(t): i for i, op in enumerate(graph.operators) for t in op.outputs}
        self._marks: list[tuple[int, int]] = []  # what the batch had before each operator

    def run(self) -> None:
        """Raises InvalidModel of the operator that is reached furthest, where no choice keeps the samples apart."""
        count = len(self._graph.operators)
        left = _WORK * (count + 1)
        furthest: tuple[int, InvalidModel] | None = None
        at = 0
        while at <= count:
            reads = self._graph.operators[at].inputs if at < count else self._graph.outputs
            left -= 1
            try:
                if at < count:
                    self._apply(at)
                else:
                    self._check_outputs()
                at += 1
            except InvalidModel as e:
                if furthest is None or at > furthest[0]:
                    furthest = at, e
                choice = self._last_choice(reads) if left > 0 else None
                if choice is None:
                    raise furthest[1] from None
                at = choice

    def _apply(self, at: int) -> None:
        source, batch = self._graph.operators[at], self._batch
        op = replace(source, inputs=list(source.inputs), attributes=dict(source.attributes))
        del self._marks[at:]
        self._marks.append((len(batch.tensors), len(batch.operators)))
        if any(t in batch for t in op.inputs):
            for tensor, place in zip(op.outputs, self._places(at, op), strict=True):
                if tensor.name and place.axis >= len(tensor.shape):
                    raise self._refused(tensor, f"{_where(op)} leaves no dimension for the samples")
                if tensor.quantization is not None and tensor.quantization.axis == place.axis:
                    what = f"it has several scales along dimension {place.axis}, which has the samples"
                    raise self._refused(tensor, what)
                batch.add(tensor, place)
        batch.operators.append(op)

    def _places(self, at: int, op: Operator) -> list[Along]:
        batch, rule = self._batch, self._rules.get(op.op_type)
        if rule is None:
            raise self._refused(
                op.outputs[0], f"{_where(op)} is not known to keep the samples of a batch apart"
            )
        batch.begin(at)
        try:
            places = rule(op, batch)
            if isinstance(places, (int, Along)):
                places = [places] * len(op.outputs)
            return [p if isinstance(p, Along) else Along(p, batch.outer(op)) for p in places]
        except Mixed as e:
            raise self._refused(op.outputs[0], f"{_where(op)} {e}") from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            what = f"{_where(op)} does not have the inputs and attributes of its type"
            raise self._refused(op.outputs[0], what) from None

    def _check_outputs(self) -> None:
        for tensor in self._graph.outputs:
            if tensor not in self._batch or self._batch.place(tensor) == Along(0):
                continue
            axis, outer = self._batch.place(tensor)
            raise self._refused(
                tensor,
                f"the output has the samples along dimension {axis}" + ", among other elements" * (outer > 1),
                "export the model with the batch as dimension 0 of its outputs",
            )

    def _refused(
        self, tensor: Tensor, why: str, hint: str = "export the model with this batch size"
    ) -> InvalidModel:
        return _refused(self._batch.size, tensor, why, hint)

    def _last_choice(self, reads: Sequence[Tensor | None]) -> int | None:
        """Takes the next of the last choice on which these tensors depend, and forgets what was done since; the operator's index."""
        batch = self._batch
        before = self._sources(reads)
        open_choices = [i for i in before if batch.has_more(i)]
        if not open_choices:
            return None
        at = max(open_choices)
        after = self._readers(at)
        batch.take_next(at, forget=[i for i in before | after if i > at])
        tensors, operators = self._marks[at]
        while len(batch.tensors) > tensors:
            batch.tensors.popitem()
        del batch.operators[operators:]
        return at

    def _sources(self, reads: Sequence[Tensor | None]) -> set[int]:
        """The operators that these tensors depend on."""
        found: set[int] = set()
        todo = list(reads)
        while todo:
            i = self._producer.get(id(todo.pop()))
            if i is not None and i not in found:
                found.add(i)
                todo += self._graph.operators[i].inputs
        return found

    def _readers(self, at: int) -> set[int]:
        """The operators that depend on the one of this index."""
        made = {id(t) for t in self._graph.operators[at].outputs}
        found = set()
        for i in range(at + 1, len(self._marks)):
            op = self._graph.operators[i]
            if any(id(t) in made for t in op.inputs):
                found.add(i)
                made.update(map(id, op.outputs))
        return found


def _where(op: Operator) -> str:
    return f'operator "{op.name}" ({op.written_type})'


def _refused(
    size: int, tensor: Tensor, why: str, hint: str = "export the model with this batch size"
) -> InvalidModel:
    return InvalidModel(
        f'batch size {size} is impossible for the tensor "{tensor.name}": {why}; use batch size 1 or {hint}'
    )


def _repeat(data: np.ndarray, place: Along, size: int) -> np.ndarray:
    """The same values for every sample, at the places of the samples."""
    axis, outer = place
    if outer == 1:
        return np.concatenate([data] * size, axis)
    ahead, own, behind = data.shape[:axis], data.shape[axis], data.shape[axis + 1 :]
    groups = np.expand_dims(data.reshape(*ahead, outer, own // outer, *behind), axis + 1)
    return groups.repeat(size, axis + 1).reshape(*ahead, own * size, *behind)


def _repeated_output(tensor: Tensor, size: int) -> Tensor | None:
    """A constant that is an output of the model, repeated along dimension 0; None where that cannot be."""
    data = tensor.data
    if data is None or data.shape != tensor.shape or not data.shape or data.nbytes * size > MAX_TENSOR_BYTES:
        return None
    data = np.concatenate([data] * size)
    data.flags.writeable = False
    return Tensor(tensor.name, data.shape, tensor.dtype, tensor.quantization, data)
