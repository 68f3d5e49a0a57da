"""Applies a batch size to an imported graph: dimension 0 of what depends on the inputs is multiplied.

An operator keeps samples apart if its result for a batch is the results of its samples one after another.  Each
frontend has a table of rules, one for every operator type of which that can be shown; an operator without a rule, or
whose rule says no, makes the batch size impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import InvalidModel

MAX_TENSOR_BYTES = 2**31 - 1


class Mixed(Exception):
    """Why an operator cannot keep samples apart: a clause that follows its name."""


class Batch:
    """The batch size, and which tensors grow with it.  Shapes are still those of one sample while rules run."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tensors: dict[int, Tensor] = {}

    def __contains__(self, tensor: Tensor | None) -> bool:
        return id(tensor) in self.tensors

    def add(self, tensor: Tensor) -> None:
        self.tensors[id(tensor)] = tensor

    def change(self, op: Operator, position: int, data: np.ndarray) -> None:
        """Gives an operator a constant of its own in place of one that others may share."""
        old = op.inputs[position]
        assert old is not None
        data = np.ascontiguousarray(data, dtype=old.data.dtype)
        data.flags.writeable = False
        name = f"{old.name}:batch{self.size}:{op.name}"
        op.inputs[position] = Tensor(name, data.shape, old.dtype, old.quantization, data)

    def repeat(self, op: Operator, position: int) -> None:
        """Repeats a constant along dimension 0, once for every sample."""
        tensor = op.inputs[position]
        if tensor is None or not tensor.is_constant or tensor.data.shape != tensor.shape:
            raise Mixed(f'joins "{tensor.name}", which is the same for all samples')
        if tensor.data.nbytes * self.size > MAX_TENSOR_BYTES:
            raise Mixed(f'would need "{tensor.name}" repeated to more than 2 GiB')
        self.change(op, position, np.concatenate([tensor.data] * self.size))


Rule = Callable[[Operator, Batch], None]  # raises Mixed; may change the operator's constants and attributes


def apply_batch(graph: Graph, size: int, rules: dict[str, Rule]) -> None:
    """Multiplies dimension 0 of every input, of every output and of what lies between by ``size``.

    Raises:
        InvalidModel: an input has no dimension 0, or an operator mixes samples.
    """
    batch = Batch(size)

    def refuse(why: str) -> InvalidModel:
        return InvalidModel(f"batch size {size} is impossible: {why}")

    for tensor in graph.inputs:
        if not tensor.shape:
            raise refuse(f'the input "{tensor.name}" is a scalar')
        batch.add(tensor)
    for op in graph.operators:
        if not any(t in batch for t in op.inputs):
            continue
        where = f'operator "{op.name}" ({op.op_type})'
        if op.op_type not in rules:
            raise refuse(f"{where} is not known to keep the samples of a batch apart")
        try:
            rules[op.op_type](op, batch)
        except Mixed as e:
            raise refuse(f"{where} {e}") from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise refuse(f"{where} does not have the inputs and attributes of its type") from None
        for tensor in op.outputs:
            if not tensor.shape and tensor.name:
                raise refuse(f'{where} reduces the batch to the scalar "{tensor.name}"')
            if tensor.name:
                batch.add(tensor)
    for tensor in graph.outputs:
        if tensor not in batch:
            raise refuse(f'the output "{tensor.name}" does not depend on the inputs')
    for tensor in batch.tensors.values():
        tensor.shape = (tensor.shape[0] * size, *tensor.shape[1:])
        if tensor.size > MAX_TENSOR_BYTES:
            raise refuse(f'tensor "{tensor.name}" would have {tensor.size} elements')


# The vocabulary of rules.


def constant(op: Operator, position: int, what: str) -> np.ndarray | None:
    """The value of a constant input; None where it is left out.

    Raises:
        Mixed: the input is computed.
    """
    if position >= len(op.inputs) or op.inputs[position] is None:
        return None
    if not op.inputs[position].is_constant:
        raise Mixed(f"has {what} that are not constant")
    return op.inputs[position].data


def elementwise(op: Operator, batch: Batch) -> None:
    """Inputs are broadcast to the output's shape."""
    out = op.outputs[0].shape
    for i, tensor in enumerate(op.inputs):
        if tensor is None or len(tensor.shape) < len(out) and tensor not in batch:
            continue
        if tensor in batch:
            if len(tensor.shape) != len(out) or tensor.shape[0] != out[0]:
                raise Mixed(f'spreads "{tensor.name}" over dimension 0')
        elif tensor.shape[:1] not in ((), (1,)):
            batch.repeat(op, i)


def first_input(op: Operator, batch: Batch) -> None:
    """Only the first input grows (convolution, pooling, resizing): the others are the same for every sample."""
    for tensor in op.inputs[1:]:
        if tensor in batch:
            raise Mixed(f'takes "{tensor.name}", which differs between samples, as a parameter')


def along(axes: Callable[[Operator], Iterable[int]], position: int = 0) -> Rule:
    """The operator works along axes of one input (reduction, softmax, split), which must leave dimension 0 alone."""

    def rule(op: Operator, batch: Batch) -> None:
        data = op.inputs[position]
        for i, tensor in enumerate(op.inputs):
            if i != position and tensor in batch:
                raise Mixed(f'takes "{tensor.name}", which differs between samples, as a parameter')
        leave_dimension_0(axes(op), len(data.shape))

    return rule


def leave_dimension_0(axes: Iterable[int], rank: int) -> None:
    """Raises Mixed if dimension 0 is among the axes, which may count from the back."""
    if any(int(axis) % max(rank, 1) == 0 for axis in axes):
        raise Mixed("works along dimension 0")


def concatenate(axis: Callable[[Operator], int], positions: slice = slice(None)) -> Rule:
    """The inputs at ``positions`` are joined along an axis."""

    def rule(op: Operator, batch: Batch) -> None:
        leave_dimension_0([axis(op)], len(op.outputs[0].shape))
        for i in range(len(op.inputs))[positions]:
            if op.inputs[i] not in batch:
                batch.repeat(op, i)

    return rule


def matmul(op: Operator, batch: Batch, positions: tuple[int, int] = (0, 1)) -> None:
    """Matrix product over the last two dimensions, the others broadcast; a and b are not transposed."""
    a, b = (op.inputs[i] for i in positions)
    if any(t in batch for i, t in enumerate(op.inputs) if i not in positions):
        raise Mixed("has parameters that differ between samples")
    if b in batch and len(b.shape) < 3:
        raise Mixed(f'sums over dimension 0 of "{b.name}"')
    if a in batch and len(a.shape) < 2:
        raise Mixed(f'sums over dimension 0 of "{a.name}"')
    rank = len(op.outputs[0].shape)
    for tensor, other in ((a, b), (b, a)):
        if tensor in batch and (len(tensor.shape) != rank or tensor.shape[0] != op.outputs[0].shape[0]):
            raise Mixed(f'spreads "{tensor.name}" over dimension 0')
        if other not in batch and len(other.shape) == rank > 2 and other.shape[0] != 1:
            raise Mixed(f'multiplies dimension 0 with that of "{other.name}"')


def reshape(position: int) -> Rule:
    """The order of elements stays; the leading dimension of a constant target shape grows."""

    def rule(op: Operator, batch: Batch) -> None:
        scale_leading(op, batch, position)

    return rule


def scale_leading(op: Operator, batch: Batch, position: int) -> None:
    """Multiplies the first number of a constant shape, unless it means "as the input has" (0) or "the rest" (-1)."""
    shape = constant(op, position, "a target shape whose numbers")
    if shape is not None and shape.size and shape.reshape(-1)[0] > 0:
        shape = shape.copy()
        shape.reshape(-1)[0] *= batch.size
        batch.change(op, position, shape)


def pad(position: int) -> Rule:
    """Pads of dimension 0 must be 0: [rank, 2], or flat with all beginnings before all ends."""

    def rule(op: Operator, batch: Batch) -> None:
        first_input(op, batch)
        pads = constant(op, position, "pads")
        if pads is not None:
            ends = pads if pads.ndim == 2 else pads.reshape(2, -1).T
            if ends[0].any():
                raise Mixed("pads dimension 0")

    return rule


def transpose(perm: Callable[[Operator], Iterable[int]]) -> Rule:
    """Dimension 0 must stay in its place."""

    def rule(op: Operator, batch: Batch) -> None:
        first_input(op, batch)
        order = [int(p) for p in perm(op)]
        if not order or order[0] != 0:
            raise Mixed("moves dimension 0")

    return rule
