"""Encloses values that cannot be handed over: the nodes that make and use them become one operator.

Such are tensors of unknown shape, sequences, strings, and types that NumPy lacks.  So the results of NonZero, Unique or
Loop, whose shapes only the data tell, may live inside of a model whose inputs and outputs are static.  A region is a
model-local function of the host cluster's model; nothing of it goes to the NPU.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from furiosa.compiler.dfg.graph import HOST_REGION
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend import groups as groups_of
from furiosa.compiler.frontend.onnx import checks

DOMAIN = "furiosa.host"  # of the functions in a host cluster's model
MIN_IR_VERSION = 8  # since when a model may have functions


def enclose(
    nodes: list[onnx.NodeProto], results: set[str], can_cross: Callable[[str], bool], opsets: dict[str, int]
) -> tuple[list[onnx.NodeProto], dict[str, onnx.FunctionProto]]:
    """Replaces nodes around values that cannot be handed over by calls of functions.

    Args:
        nodes: of the main graph, in topological order.
        results: the names that the model gives.
        can_cross: whether the value of this name can be handed over.

    Returns:
        The nodes in topological order, and the functions by the type of the node that calls them.  Both are as before
        where every value can be handed over, or where a result cannot, so that there is no way out of a region.

    Raises:
        InvalidModel: a node reads what a later one makes, or two make the same.
    """
    enclosed = {name for node in nodes for name in node.output if name and not can_cross(name)}
    if not enclosed or enclosed & results:
        return nodes, {}
    check_order(nodes)
    touched = [enclosed.intersection((*_reads(node), *node.output)) for node in nodes]
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    reads = [[maker[name] for name in _reads(node) if name in maker] for node in nodes]
    groups = groups_of.in_order(groups_of.joined(touched), reads)
    readers: dict[str, set[int]] = {name: {-1} for name in results}
    for g, group in enumerate(groups):
        for name in (name for i in group for name in _reads(nodes[i])):
            readers.setdefault(name, set()).add(g)
    functions: dict[str, onnx.FunctionProto] = {}
    out: list[onnx.NodeProto] = []
    for g, group in enumerate(groups):
        members = [nodes[i] for i in group]
        if not any(name in enclosed for node in members for name in node.output):
            out += members
            continue
        made = [name for node in members for name in node.output if readers.get(name, set()) - {g}]
        call, function = _function(f"{HOST_REGION}{len(functions)}", members, made, opsets)
        functions[call.op_type] = function
        out.append(call)
    return out, functions


def check_order(nodes: list[onnx.NodeProto], known: set[str] | None = None) -> None:
    """Checks what nodes read and make; the importer does so outside of a region, and nobody else inside.

    Args:
        known: the names of inputs and constants; None where what nobody makes is no error here.

    Raises:
        InvalidModel: a node reads what a later one makes, or none, or two make the same.
    """
    missing = {name for node in nodes for name in node.output if name}
    made = set(missing)
    for node in nodes:
        where = f'operator "{node.name or node.output[0]}" ({node.op_type})'
        for name in _reads(node):
            if name in missing or known is not None and name not in made and name not in known:
                raise InvalidModel(f'{where} reads tensor "{name}" before anything has written it')
        for name in filter(None, node.output):
            if name not in missing:
                raise InvalidModel(f'tensor "{name}" is defined twice')
            missing.remove(name)


def _reads(node: onnx.NodeProto) -> list[str]:
    return [name for name in (*node.input, *checks.free_names(node)) if name]


def _function(
    op_type: str, members: list[onnx.NodeProto], outputs: list[str], opsets: dict[str, int]
) -> tuple[onnx.NodeProto, onnx.FunctionProto]:
    """A node that calls a function of these nodes; names inside are those outside."""
    made = {name for node in members for name in node.output}
    inputs = list(dict.fromkeys(name for node in members for name in _reads(node) if name not in made))
    function = onnx.FunctionProto(
        domain=DOMAIN,
        name=op_type,
        input=inputs,
        output=outputs,
        node=members,
        opset_import=[onnx.OperatorSetIdProto(domain=d, version=v) for d, v in sorted(opsets.items())],
    )
    call = onnx.NodeProto(op_type=op_type, domain=DOMAIN, name=members[0].name, input=inputs, output=outputs)
    return call, function
