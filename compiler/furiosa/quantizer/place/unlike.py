"""Results that join unlike quantities: boxes in pixels and scores up to 1, say, of which one scale would leave of the scores nothing.

Such a Concat stays in float, with the moves between it and the results: each part keeps the scale that it has.
"""

from __future__ import annotations

from collections.abc import Mapping

from furiosa.compiler import quantizable
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.quantizer.affine import FIXED, Range
from furiosa.quantizer.place.units import Uses, is_activation

# the least part would have fewer than 32 of the 256 levels
FACTOR = 8.0


def unlike(graph: Graph, ranges: Mapping[str, Range]) -> dict[Operator, str]:
    """The operators that stay in float, each with the reason."""
    uses = Uses(graph)
    found: dict[Operator, str] = {}
    for op in graph.operators:
        if op.op_type != "Concat" or op.attributes.get("domain"):
            continue
        sizes = {t.name: _size(t, uses, ranges) for t in op.inputs if is_activation(t)}
        known = {n: s for n, s in sizes.items() if s}
        if len(known) < 2 or max(known.values()) < FACTOR * min(known.values()):
            continue
        tail = _tail(op, uses)
        if tail is not None:
            large, small = (choose(known, key=known.get) for choose in (max, min))
            why = f"it joins '{large}', up to {known[large]:.3g}, and '{small}', up to {known[small]:.3g}, which one scale would ruin"
            found |= dict.fromkeys(tail, why)
    return found


def _size(t: Tensor, uses: Uses, ranges: Mapping[str, Range]) -> float:
    """The largest magnitude of a tensor; 0 where nothing is known."""
    maker = uses.producer.get(t)
    if maker is not None and maker.op_type in FIXED:
        return 1.0
    found = ranges.get(t.name)
    return max(-found.low, found.high) if found is not None else 0.0


def _tail(op: Operator, uses: Uses) -> list[Operator] | None:
    """The operator and the moves between it and results of the model; None where anything else reads it."""
    tail, waiting = [op], list(op.outputs)
    while waiting:
        t = waiting.pop()
        readers = uses.readers.get(t, [])
        if not readers and t not in uses.results:
            continue
        for reader in readers:
            if reader.op_type not in quantizable.SHARING or reader.inputs[0] is not t:
                return None
            if reader not in tail:
                tail.append(reader)
                waiting += reader.outputs
    return tail
