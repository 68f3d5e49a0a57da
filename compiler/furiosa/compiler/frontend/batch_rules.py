"""The vocabulary of the tables of batch rules: what shows that an operator keeps the samples of a batch apart.

Each function gives the dimension along which the outputs have the samples, or an Along, or raises Mixed; see
furiosa.compiler.frontend.batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from furiosa.compiler.dfg.graph import Operator
from furiosa.compiler.frontend.batch import Along, Batch, Mixed, Rule


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


def only(op: Operator, batch: Batch, position: int = 0) -> int:
    """The dimension of the samples in the only input that may grow; the others are the same for every sample."""
    for i, tensor in enumerate(op.inputs):
        if i != position and tensor in batch:
            raise Mixed(f'takes "{tensor.name}", which differs between samples, as a parameter')
    return batch.axis(op.inputs[position])


def first_input(op: Operator, batch: Batch) -> int:
    """The first input grows along dimension 0, where the operator has its batch (convolution, pooling, resizing)."""
    if only(op, batch) != 0:
        raise Mixed(f'has its batch along dimension 0, but "{op.inputs[0].name}" has it elsewhere')
    return 0


def elementwise(op: Operator, batch: Batch) -> int:
    """Inputs are broadcast to the output's shape."""
    return broadcast(op, batch, range(len(op.inputs)), op.outputs[0].shape)


def broadcast(op: Operator, batch: Batch, positions: Iterable[int], out: tuple[int, ...]) -> int:
    """The dimension of the samples in ``out``, to which the inputs at ``positions`` are broadcast."""
    tensors = {i: op.inputs[i] for i in positions if op.inputs[i] is not None}
    axes = {len(out) - len(t.shape) + batch.axis(t) for t in tensors.values() if t in batch}
    if len(axes) != 1:
        raise Mixed("joins tensors whose samples lie along different dimensions")
    (axis,) = axes
    for i, tensor in tensors.items():
        own = axis - (len(out) - len(tensor.shape))
        if tensor in batch:
            if tensor.shape[own] != out[axis]:
                raise Mixed(f'spreads "{tensor.name}" over dimension {axis}')
        elif own >= 0 and tensor.shape[own] != 1:
            batch.repeat(op, i, own)
    return axis


def along(axes: Callable[[Operator], Iterable[int]], position: int = 0, removes: bool | None = None) -> Rule:
    """The operator works along axes of one input (reduction, softmax, split), which must not have the samples.

    ``removes``: whether those axes are missing in the outputs; None for "if the outputs have fewer dimensions".
    """

    def rule(op: Operator, batch: Batch) -> int:
        axis = only(op, batch, position)
        shape = op.inputs[position].shape
        gone = leave(axis, axes(op), len(shape))
        if removes is False or removes is None and len(op.outputs[0].shape) == len(shape):
            return axis
        return axis - sum(a < axis for a in gone)

    return rule


def leave(axis: int, axes: Iterable[int], rank: int) -> set[int]:
    """The axes, which may count from the back, counted from the front; raises Mixed if ``axis`` is among them."""
    result = {int(a) % max(rank, 1) for a in axes}
    if axis in result:
        raise Mixed(f"works along dimension {axis}, which has the samples")
    return result


def insert(axis: int, axes: Iterable[int], rank: int) -> int:
    """Where ``axis`` comes to lie when dimensions are inserted at ``axes`` of a result of ``rank`` dimensions."""
    new = {int(a) % max(rank, 1) for a in axes}
    return [a for a in range(rank) if a not in new][axis]


def concatenate(axis: Callable[[Operator], int], positions: slice = slice(None), stack: bool = False) -> Rule:
    """The inputs at ``positions`` are joined along an axis; ``stack``: along a new one."""

    def rule(op: Operator, batch: Batch) -> int:
        chosen = range(len(op.inputs))[positions]
        axes = {batch.axis(op.inputs[i]) for i in chosen if op.inputs[i] in batch}
        if len(axes) != 1 or any(t in batch for i, t in enumerate(op.inputs) if i not in chosen):
            raise Mixed("joins tensors whose samples lie along different dimensions")
        (samples,) = axes
        rank = len(op.outputs[0].shape)
        if not stack:
            leave(samples, [axis(op)], rank)
        for i in chosen:
            if op.inputs[i] not in batch:
                batch.repeat(op, i, samples)
        return insert(samples, [axis(op)], rank) if stack else samples

    return rule


def matmul(op: Operator, batch: Batch, positions: tuple[int, int] = (0, 1)) -> int:
    """Matrix product over the last two dimensions, the others broadcast; a and b are not transposed."""
    a, b = (op.inputs[i] for i in positions)
    if any(t in batch for i, t in enumerate(op.inputs) if i not in positions):
        raise Mixed("has parameters that differ between samples")
    rank = max(len(a.shape), len(b.shape), 2)
    places = set()
    for tensor, other, summed in ((a, b, len(a.shape) - 1), (b, a, max(len(b.shape) - 2, 0))):
        if tensor in batch:
            own = batch.axis(tensor)
            if own == summed:
                raise Mixed(f'sums over dimension {own} of "{tensor.name}", which has the samples')
            places.add(rank - len(tensor.shape) + own)
            if max(places) >= rank - 2 and other in batch:
                raise Mixed("multiplies the samples with one another")
    if len(places) != 1:
        raise Mixed("joins tensors whose samples lie along different dimensions")
    (axis,) = places
    if axis < rank - 2:
        leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        broadcast(op, batch, positions, (*leading, 0, 0))
    return axis - 1 if len(a.shape) == 1 and axis == rank - 1 else axis


def moved(op: Operator, batch: Batch, shape: tuple[int, ...], out: tuple[int, ...]) -> Along:
    """Where the samples are after a reshape of ``shape``: the order of all elements stays, so as many are ahead of them as before.

    Where that is so of several dimensions, of one of size 1 or of the end of one and the beginning of the next, one is chosen.

    Raises:
        Mixed: they would begin in the middle of a dimension's element.
    """
    axis = only(op, batch)
    ahead = math.prod(shape[:axis]) * batch.outer(op)
    places = []
    for i, size in enumerate(out):
        outer, rest = divmod(ahead, math.prod(out[:i]))
        if rest == 0 and outer and size % outer == 0:
            places.append(Along(i, outer))
    if not out:
        raise Mixed("leaves no dimension for the samples")
    if not places:
        raise Mixed(
            f"divides anew what is ahead of dimension {axis}, which has the samples, and what follows"
        )
    return batch.choose(sorted(places, key=lambda p: p.outer > 1))


def reshape(op: Operator, batch: Batch, position: int = 1) -> Along:
    """The order of elements stays; a constant target shape becomes that of the batch."""
    shape = list(op.outputs[0].shape)
    if 0 in shape:
        only(op, batch)
        raise Mixed("makes a tensor of no elements")
    place = moved(op, batch, op.inputs[0].shape, op.outputs[0].shape)
    if constant(op, position, "a target shape whose numbers") is not None:
        shape[place.axis] *= batch.size
        batch.change(op, position, np.array(shape))
    return place


def scale(op: Operator, batch: Batch, position: int, index: int) -> None:
    """Multiplies one number of a constant shape, if it is a size (above 0)."""
    shape = constant(op, position, "a target shape whose numbers")
    if shape is not None and index < shape.size and shape.reshape(-1)[index] > 0:
        limit = np.iinfo(shape.dtype).max  # which stands for "to the end" in slices
        shape = shape.copy()
        shape.reshape(-1)[index] = min(int(shape.reshape(-1)[index]) * batch.size, limit)
        batch.change(op, position, shape)


def expand(op: Operator, batch: Batch, position: int = 1) -> int:
    """The first input is broadcast to a constant shape."""
    only(op, batch)
    out = op.outputs[0].shape
    axis = broadcast(op, batch, [0], out)
    shape = constant(op, position, "a target shape whose numbers")
    scale(op, batch, position, axis - (len(out) - len(shape)))
    return axis


def tile(op: Operator, batch: Batch) -> int:
    axis = only(op, batch)
    if constant(op, 1, "repeats").reshape(-1)[axis] != 1:
        raise Mixed(f"repeats dimension {axis}, which has the samples")
    return axis


def pad(op: Operator, batch: Batch) -> int:
    """Pads of the samples' dimension must be 0: [rank, 2], or flat with all beginnings before all ends."""
    axis = only(op, batch)
    pads = constant(op, 1, "pads")
    if pads is not None:
        ends = pads if pads.ndim == 2 else pads.reshape(2, -1).T
        if ends[axis].any():
            raise Mixed(f"pads dimension {axis}, which has the samples")
    return axis


def transpose(perm: Callable[[Operator], Iterable[int]]) -> Rule:
    """The samples go where their dimension goes."""

    def rule(op: Operator, batch: Batch) -> int:
        return [int(p) for p in perm(op)].index(only(op, batch))

    return rule


def gather(op: Operator, batch: Batch, axis: int, batch_dims: int = 0) -> int | Along:
    """Slices of the first input along ``axis``, chosen by the second."""
    data, indices = op.inputs[:2]
    axis %= max(len(data.shape), 1)
    if data in batch and indices in batch:
        if batch.axis(data) == batch.axis(indices) < batch_dims:
            return batch.axis(data)
        raise Mixed("chooses by indices that differ between samples from what differs, too")
    if batch_dims:
        raise Mixed("has batch dimensions and an input that is the same for all samples")
    if indices in batch:
        return axis + batch.axis(indices)
    samples = batch.axis(data)
    if samples == axis and indices.is_constant and indices.shape:
        return _gather_in_each(op, batch)
    leave(samples, [axis], len(data.shape))
    return samples if samples < axis else samples - 1 + len(indices.shape)


def _gather_in_each(op: Operator, batch: Batch) -> Along:
    """Constant indices into the dimension that has the samples: those of each sample, one sample after the other."""
    data, indices = op.inputs[:2]
    (axis, outer), size = batch.place(data), data.shape[batch.axis(data)]
    group = size // outer
    within = np.where(indices.data < 0, indices.data + size, indices.data).astype(np.int64)
    first = within // group * group * batch.size + within % group
    batch.change(op, 1, np.concatenate([first + n * group for n in range(batch.size)]))
    return Along(axis)


def gather_nd(op: Operator, batch: Batch, batch_dims: int = 0) -> int:
    """Parts of the first input, chosen by the coordinates in the last dimension of the second."""
    data, indices = op.inputs
    depth, rank = batch_dims + indices.shape[-1], len(indices.shape)
    if data in batch and indices in batch or batch_dims:
        return gather(op, batch, depth, batch_dims)
    if indices in batch:
        leave(batch.axis(indices), [-1], rank)
        return batch.axis(indices)
    leave(batch.axis(data), range(depth), len(data.shape))
    return rank - 1 + batch.axis(data) - depth


def same(axes: Callable[[Operator], Iterable[int]]) -> Rule:
    """All inputs have the samples along the same dimension, without broadcasting, and the operator leaves it alone."""

    def rule(op: Operator, batch: Batch) -> int:
        found = {batch.axis(t) for t in op.inputs if t in batch}
        if len(found) != 1:
            raise Mixed("joins tensors whose samples lie along different dimensions")
        (axis,) = found
        leave(axis, axes(op), len(op.inputs[0].shape))
        for i, tensor in enumerate(op.inputs):
            if tensor not in batch:
                batch.repeat(op, i, axis)
        return axis

    return rule
