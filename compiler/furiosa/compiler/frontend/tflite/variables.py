"""Variables and tables of a TFLite model, which live from run to run: the operators around each become one operator.

LiteRT keeps them in its interpreter, so what reads and what assigns one must be in the same model on the host, and so must what
lies between the two; the rest may go elsewhere.  A region runs what the model runs once, too (CALL_ONCE), which gives variables
their first values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from furiosa.compiler.dfg.graph import HOST_REGION, Graph, Operator, Tensor
from furiosa.compiler.frontend import groups

ONCE = "CALL_ONCE"
# What has no result, and is there for what it does to a variable, a table, or at the first run.
WITHOUT_RESULT = frozenset({"ASSIGN_VARIABLE", ONCE, "HASHTABLE_IMPORT"})
_RESOURCE = "resource"


def enclose(operators: Sequence[Operator], results: Sequence[Tensor]) -> list[Operator]:
    """Makes one operator of those that share a variable or a table and of what lies between them.

    Args:
        operators: in the order in which they run.
        results: the tensors that the model gives.

    Returns:
        The operators, in an order in which each reads what earlier ones make: the same where nothing lives from run to run.
        A region without results is left out, as nobody sees what it holds.
    """
    keys = [set(_keys(op)) for op in operators]
    if not any(keys):
        return list(operators)
    once = [op for op in operators if op.op_type == ONCE]
    rest = [(op, own) for op, own in zip(operators, keys, strict=True) if op.op_type != ONCE]
    maker = {t: i for i, (op, _) in enumerate(rest) for t in op.outputs}
    reads = [[maker[t] for t in op.inputs if t in maker] for op, _ in rest]
    found = groups.in_order(groups.joined([own for _, own in rest]), reads)
    group_of = {i: g for g, group in enumerate(found) for i in group}
    wanted = set(results)
    for i, makers in enumerate(reads):
        wanted.update(
            t
            for m in makers
            if group_of[m] != group_of[i]
            for t in rest[m][0].outputs
            if t in rest[i][0].inputs
        )
    out: list[Operator] = []
    for group in found:
        members = [rest[i][0] for i in group]
        if not any(rest[i][1] for i in group):
            out += members
        elif made := [t for op in members for t in op.outputs if t in wanted]:
            out.append(_region([*once, *members], made))
    return out


def opened(operators: Sequence[Operator]) -> list[Operator]:
    """The operators of which those that ``enclose`` made consist; what runs once comes first, and is there once."""
    members: list[Operator] = []
    for op in operators:
        members += op.bodies["function"].operators if op.op_type == HOST_REGION and op.bodies else [op]
    once = dict.fromkeys(op for op in members if op.op_type == ONCE)
    return [*once, *(op for op in members if op.op_type != ONCE)]


def _region(members: list[Operator], made: list[Tensor]) -> Operator:
    own = {t for op in members for t in op.outputs}
    read = dict.fromkeys(t for op in members for t in op.inputs if t is not None and t not in own)
    inputs = [t for t in read if not t.is_constant]
    body = Graph("tflite", made[0].name, inputs, made, members)
    return Operator(made[0].name, HOST_REGION, list(inputs), made, {}, None, {"function": body})


def _keys(op: Operator) -> Iterator[Hashable]:
    """The variables and tables that an operator touches: by the tensors that refer to them, and by their names."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor is not None and tensor.dtype == _RESOURCE:
            yield tensor
    if op.op_type != ONCE:
        yield from _names(op)


def _names(op: Operator) -> Iterator[Hashable]:
    """The names by which an operator, or one inside of it, asks for variables and tables."""
    if op.op_type == "VAR_HANDLE":
        yield op.op_type, op.attributes.get("container"), op.attributes.get("shared_name")
    elif op.op_type == "HASHTABLE":
        yield op.op_type, op.attributes.get("table_id")
    for body in (op.bodies or {}).values():
        for inner in body.operators:
            yield from _names(inner)
