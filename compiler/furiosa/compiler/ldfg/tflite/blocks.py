"""Blocks of pixels to channels or to the batch, and back: one transposition of up to six dimensions each."""

from __future__ import annotations

import itertools

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.dfg.moves import ranged
from furiosa.compiler.ldfg import moves, rules
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.ldfg.tflite.move import facts


@rules.requires(rules.BLOCKS)
def depth_to_space(low: Lowering, op: Operator) -> None:
    """As ONNX's mode DCR."""
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.BLOCKS, facts(low, op, mode="DCR"))
    block = op.attributes["block_size"]
    moves.depth_to_space(low, low.plain(x), block, low.result(y), channels_last=True, crd=False)


@rules.requires(rules.BLOCKS)
def space_to_depth(low: Lowering, op: Operator) -> None:
    x, y = op.inputs[0], op.outputs[0]
    low.check(rules.BLOCKS, facts(low, op, mode="DCR"))
    moves.space_to_depth(low, low.plain(x), op.attributes["block_size"], low.result(y), channels_last=True)


@rules.requires(rules.MOVE)
def space_to_batch_nd(low: Lowering, op: Operator) -> None:
    """Pads with the zero point, then takes the block's offset, as the outer part of the batch, out of each spatial dimension."""
    x, blocks, pads = op.inputs
    y = op.outputs[0]
    count = _checked(low, op)
    form = low.plain(x)
    numbers = [0, 0, *pads.data.reshape(-1).tolist()]
    numbers += [0] * (2 * len(x.shape) - len(numbers))
    before, after = numbers[::2], numbers[1::2]
    if any(numbers):
        shape = tuple(d + b + a for d, b, a in zip(x.shape, before, after))
        wider = Tensor(y.name, shape, "int8", x.quantization)
        moves.constant_pad(low, form, before, after, low.quantization(x)[1], wider)
        form = wider
    sizes = blocks.data.reshape(-1).tolist()
    n, *space = form.shape[: 1 + count]
    pairs = itertools.chain.from_iterable((d // b, b) for d, b in zip(space, sizes))
    split = (n, *pairs, *form.shape[1 + count :])
    inner = range(1 + 2 * count, len(split))
    perm = (*range(2, 1 + 2 * count, 2), 0, *range(1, 1 + 2 * count, 2), *inner)
    moves.shuffle(low, form, split, perm, low.result(y))


@rules.requires(rules.MOVE)
def batch_to_space_nd(low: Lowering, op: Operator) -> None:
    """Puts the block's offset, the outer part of the batch, back into each spatial dimension, then crops."""
    x, blocks, crops = op.inputs
    y = op.outputs[0]
    count = _checked(low, op)
    sizes = blocks.data.reshape(-1).tolist()
    _, *space = x.shape[: 1 + count]
    split = (*sizes, y.shape[0], *space, *x.shape[1 + count :])
    pairs = itertools.chain.from_iterable((1 + count + i, i) for i in range(count))
    perm = (count, *pairs, *range(1 + 2 * count, len(split)))
    ends = crops.data.reshape(-1).tolist()
    if not any(ends):
        moves.shuffle(low, low.plain(x), split, perm, low.result(y))
        return
    shape = (y.shape[0], *(d * b for d, b in zip(space, sizes)), *x.shape[1 + count :])
    wider = Tensor(y.name, shape, "int8", x.quantization)
    moves.shuffle(low, low.plain(x), split, perm, wider)
    kept = [range(d) for d in shape]
    for i in range(count):
        kept[1 + i] = range(ends[2 * i], shape[1 + i] - ends[2 * i + 1])
    moves.take(low, wider, [ranged(r) for r in kept], low.result(y))


def _checked(low: Lowering, op: Operator) -> int:
    """Checks the rules; the number of spatial dimensions."""
    x, blocks, ends = op.inputs
    found = facts(low, op, blocks, ends, moved=len(x.shape) + blocks.size)
    if x.quantization is None:
        found.reference = "no quantisation"
    low.check(rules.MOVE, found)
    return blocks.size
