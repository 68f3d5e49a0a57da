"""Transpositions in a row become one: a shuffle of channels or pixels written as Reshape, Transpose, Reshape, and changes of layout around it.

A tensor of the chain is seen as pieces of the chain's source, each so many elements so far apart; a transposition puts
them into another order, a reshape cuts and joins them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from furiosa.compiler.dfg.graph import Operator, Tensor
from furiosa.compiler.dfg.moves import merged
from furiosa.compiler.ldfg import moves
from furiosa.compiler.ldfg.lowering import Lowering
from furiosa.compiler.ldfg.rules import MAX_COPY_RANK

_LONGEST = 16  # operators of a chain
_MOVES = ("npu.transpose", "npu.reshape")


class Piece(NamedTuple):
    """``size`` elements of the source, ``stride`` elements apart."""

    size: int
    stride: int


Seen = list[list[Piece]]  # for each dimension of a tensor its pieces, from the outer to the inner


def compose(low: Lowering) -> None:
    """Replaces chains of transpositions and reshapes whose steps nobody else reads."""
    uses: dict[Tensor, int] = dict.fromkeys(low.graph.outputs, 2)  # never one
    for op in low.operators:
        for t in op.inputs:
            if t is not None:
                uses[t] = uses.get(t, 0) + 1
    operators, low.operators = low.operators, []
    producer: dict[Tensor, Operator] = {}
    for op in operators:
        low.operators.append(op)
        if op.op_type == "npu.transpose":
            chain = _chain(op, producer, uses)
            if any(before.op_type == "npu.transpose" for before in chain[:-1]):
                _replace(low, chain)
        for made in low.operators[-3:]:  # as many as take the place of a chain
            if made.op_type in _MOVES:
                producer[made.outputs[0]] = made
                uses.setdefault(made.inputs[0], 1)
    low.current = []


def _chain(op: Operator, producer: dict[Tensor, Operator], uses: dict[Tensor, int]) -> list[Operator]:
    """The moves that end with this one and are read by nobody else, in order."""
    chain = [op]
    while len(chain) < _LONGEST:
        t = chain[0].inputs[0]
        before = producer.get(t)
        if before is None or uses.get(t) != 1 or before.inputs[0].dtype != "int8":
            break
        chain.insert(0, before)
    return chain


def _replace(low: Lowering, chain: list[Operator]) -> None:
    """Puts one transposition in the place of the chain, or of the longest end of it that is one."""
    while sum(op.op_type == "npu.transpose" for op in chain) > 1:
        pieces = _pieces(chain)
        if pieces is not None:
            low.current = list(dict.fromkeys(source for op in chain for source in low.origins[op]))
            gone = set(chain)
            low.operators = [op for op in low.operators if op not in gone]
            _emit(low, chain[0].inputs[0], pieces, chain[-1].outputs[0])
            return
        chain = chain[1:]


def _pieces(chain: list[Operator]) -> list[Piece] | None:
    """The last tensor of the chain in pieces of its source; None where a reshape cuts across them, or they are too many."""
    shape = chain[0].inputs[0].shape
    seen: Seen = [[Piece(d, math.prod(shape[i + 1 :]))] for i, d in enumerate(shape)]
    for op in chain:
        if op.op_type == "npu.transpose":
            seen = [seen[p] for p in op.attributes["perm"]]
        else:
            cut = _cut([piece for dimension in seen for piece in dimension], op.outputs[0].shape)
            if cut is None:
                return None
            seen = cut
    pieces = [piece for dimension in seen for piece in dimension if piece.size > 1]
    split, perm = _transposition(pieces)
    return pieces if len(merged(split, perm)[0]) <= MAX_COPY_RANK else None


def _cut(pieces: list[Piece], shape: tuple[int, ...]) -> Seen | None:
    """Deals the pieces out to the dimensions of another shape."""
    rest = [piece for piece in pieces if piece.size > 1]
    out: Seen = []
    for d in shape:
        own: list[Piece] = []
        while d > 1:
            if not rest:
                return None
            size, stride = rest.pop(0)
            if d % size == 0:
                own.append(Piece(size, stride))
                d //= size
            elif size % d == 0:
                own.append(Piece(d, stride * (size // d)))
                rest.insert(0, Piece(size // d, stride))
                d = 1
            else:
                return None
        out.append(own)
    return out


def _transposition(pieces: list[Piece]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The source's shape with one dimension a piece, and the order of the pieces."""
    source = sorted(pieces, key=lambda piece: -piece.stride)
    return tuple(piece.size for piece in source), tuple(source.index(piece) for piece in pieces)


def _emit(low: Lowering, x: Tensor, pieces: list[Piece], y: Tensor) -> None:
    split, perm = merged(*_transposition(pieces))
    if perm == tuple(range(len(perm))):
        low.emit_to("npu.reshape", [x], y)
    else:
        moves.shuffle(low, x, split, perm, y)
