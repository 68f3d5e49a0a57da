"""Puts the body of an If or a Loop in its place where constants decide how it goes: exporters decide by the sizes of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from furiosa.compiler.frontend.onnx import checks

SMALL = 256  # operators that a loop of known results may become
LARGE = 4096  # and one whose results' shapes are unknown otherwise; also all loops of a model together

Value = Callable[[str], np.ndarray | None]  # the constant of a name, if it is one


def branch(node: onnx.NodeProto, value: Value) -> list[onnx.NodeProto] | None:
    """The nodes of the branch that an If takes, under the names of its results; None where that is not known."""
    condition = value(node.input[0])
    if condition is None or condition.size != 1 or condition.dtype != np.bool_:
        return None
    taken = "then_branch" if condition.reshape(()) else "else_branch"
    body = next((a.g for a in node.attribute if a.name == taken), None)
    if body is None or not _is_plain(body) or len(body.output) != len(node.output):
        return None
    names, nodes = _instance(body, node.output[0], {}, _ends(body.output, node.output))
    return nodes + _identities([names.get(v.name, v.name) for v in body.output], node.output)


def unrolled(node: onnx.NodeProto, value: Value, opset: int, most: int) -> list[onnx.NodeProto] | None:
    """The nodes of all turns of a Loop, one after the other; None where their number is not known or they are more than ``most``."""
    body = next((a.g for a in node.attribute if a.name == "body"), None)
    turns = value(node.input[0]) if node.input and node.input[0] else None
    states = node.input[2:]
    if body is None or turns is None or turns.size != 1 or not _is_plain(body):
        return None
    if (
        len(body.input) != 2 + len(states)
        or len(body.output) != 1 + len(node.output)
        or len(node.output) < len(states)
    ):
        return None
    starts = value(node.input[1]) if len(node.input) > 1 and node.input[1] else np.array(True)
    count = int(turns.reshape(()))
    scans = len(node.output) - len(states)
    if starts is None or not starts.reshape(-1)[0] or count < 1 or not _goes_on(body, value):
        return None
    if count * max(sum(1 for _ in checks.walk(body)), 1) > most:
        return None
    out: list[onnx.NodeProto] = []
    current = list(states)
    scanned: list[list[str]] = [[] for _ in range(scans)]
    for turn in range(count):
        prefix = f"{next(filter(None, node.output))}/{turn}"
        given = {v.name: name for v, name in zip(body.input[2:], current)}
        for v, constant in zip(body.input, (np.array(turn, np.int64), np.array(True))):
            given[v.name] = f"{prefix}/{v.name}"
            out.append(_constant(given[v.name], onnx.numpy_helper.from_array(constant)))
        ends = _ends(body.output[1:], node.output[: len(states)]) if turn == count - 1 else {}
        names, nodes = _instance(body, prefix, given, ends)
        out += nodes
        made = [names.get(v.name, v.name) for v in body.output[1:]]
        current = made[: len(states)]
        for k, name in enumerate(made[len(states) :]):
            scanned[k].append(f"{prefix}/scan{k}")
            out += _unsqueeze(name, scanned[k][-1], opset)
    out += _identities(current, node.output[: len(states)])
    for parts, name in zip(scanned, node.output[len(states) :]):
        if name:
            out.append(onnx.helper.make_node("Concat", parts, [name], name=name, axis=0))
    return out


def _is_plain(body: onnx.GraphProto) -> bool:
    """Whether a body has no constants that a node could not hold."""
    return not body.sparse_initializer


def _goes_on(body: onnx.GraphProto, value: Value) -> bool:
    """Whether a loop's body always asks for the next turn; ``value`` is of constants outside."""
    makers = {name: node for node in body.node for name in node.output}
    constants = {t.name: t for t in body.initializer}
    name = body.output[0].name
    while name in makers and makers[name].op_type in ("Identity", "Cast") and not makers[name].domain:
        name = makers[name].input[0]
    if name == body.input[1].name:
        return True
    if name not in makers and name not in constants and all(name != v.name for v in body.input):
        outer = value(name)
        return outer is not None and outer.size == 1 and bool(outer.reshape(()))
    if name in makers and makers[name].op_type == "Constant":
        constants[name] = next((a.t for a in makers[name].attribute if a.name == "value"), None)
    constant = constants.get(name)
    if (
        constant is None
        or constant.data_location == constant.EXTERNAL
        or list(constant.dims) not in ([], [1])
    ):
        return False
    return bool(onnx.numpy_helper.to_array(constant).reshape(-1)[0])


def _ends(results: Sequence[onnx.ValueInfoProto], targets: Sequence[str]) -> dict[str, str]:
    """The names outside of a body's results, of each the first."""
    return {v.name: target for v, target in reversed(list(zip(results, targets))) if target}


def _instance(
    body: onnx.GraphProto, prefix: str, given: Mapping[str, str], ends: Mapping[str, str]
) -> tuple[dict[str, str], list[onnx.NodeProto]]:
    """A body's nodes with names of their own, and those names by the body's.

    Args:
        given: names for the body's inputs.
        ends: names for results of its nodes.
    """
    names = dict(given)
    out = []
    for tensor in body.initializer:
        names[tensor.name] = f"{prefix}/{tensor.name}"
        out.append(_constant(names[tensor.name], tensor))
    for node in body.node:
        names.update((n, ends.get(n, f"{prefix}/{n}")) for n in node.output if n)
    out += [_renamed(node, names) for node in body.node]
    return names, out


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of a node with other names for tensors, in its subgraphs too."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(n, n) for n in node.input]
    copy.output[:] = [names.get(n, n) for n in node.output]
    for graph in checks.subgraphs(copy):
        own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        own.update(n for inner in graph.node for n in inner.output)
        outer = {old: new for old, new in names.items() if old not in own}
        nodes = [_renamed(inner, outer) for inner in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for value in graph.output:
            value.name = outer.get(value.name, value.name)
    return copy


def _identities(sources: list[str], targets: list[str]) -> list[onnx.NodeProto]:
    return [
        onnx.helper.make_node("Identity", [source], [target], name=target)
        for source, target in zip(sources, targets)
        if target and target != source
    ]


def _unsqueeze(source: str, target: str, opset: int) -> list[onnx.NodeProto]:
    """A new first dimension; since opset 13 the axes are an input."""
    if opset < 13:
        return [onnx.helper.make_node("Unsqueeze", [source], [target], axes=[0])]
    axes = f"{target}/axes"
    constant = onnx.numpy_helper.from_array(np.zeros(1, np.int64))
    return [_constant(axes, constant), onnx.helper.make_node("Unsqueeze", [source, axes], [target])]


def _constant(name: str, tensor: onnx.TensorProto) -> onnx.NodeProto:
    return onnx.helper.make_node("Constant", [], [name], value=tensor)
