"""The model's own functions: calls of them become their bodies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx

from furiosa.compiler import limits
from furiosa.compiler.errors import InvalidModel
from furiosa.compiler.frontend.onnx import checks

_Key = tuple[str, str, str]  # domain, name, overload


@dataclass(frozen=True, slots=True)
class _Size:
    """Operators and bytes once all calls are bodies."""

    operators: int
    nbytes: int

    def __add__(self, other: _Size) -> _Size:
        return _Size(self.operators + other.operators, self.nbytes + other.nbytes)


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces calls of the model's own functions by their bodies.

    Raises:
        InvalidModel: a function calls itself, or the bodies are too many: functions that call functions grow exponentially.
    """
    from onnx import inliner

    size = _unfolded(model)
    limits.check_operators(size.operators)
    limits.check_bytes(
        size.nbytes, model.ByteSize(), "the model, with the bodies of its functions in place of calls,"
    )
    # The inliner knows nothing of default values.
    defaults = {(f.domain, f.name): f.attribute_proto for f in model.functions if f.attribute_proto}
    bodies = [node for f in model.functions for node in checks.walk_nodes(f.node)] if defaults else []
    for node in (*bodies, *(checks.walk(model.graph) if defaults else ())):
        given = {a.name for a in node.attribute}
        values = defaults.get((node.domain, node.op_type), ())
        node.attribute.extend(a for a in values if a.name not in given)
    try:
        return inliner.inline_local_functions(model)
    except checks.ONNX_ERRORS as e:
        raise InvalidModel(f"the functions of the ONNX model cannot be inlined: {e}") from None


def _unfolded(model: onnx.ModelProto) -> _Size:
    """The size of the model once every call is a body."""
    bodies: dict[_Key, list[onnx.NodeProto]] = {}
    defaults: dict[_Key, int] = {}  # bytes
    for f in model.functions:
        key = f.domain, f.name, f.overload
        bodies[key] = list(checks.walk_nodes(f.node))
        defaults[key] = sum(a.ByteSize() for a in f.attribute_proto)
    sizes: dict[_Key, _Size] = {}

    def called(nodes: Iterable[onnx.NodeProto]) -> Iterator[_Key]:
        return (key for node in nodes if (key := _key(node)) in bodies)

    def total(nodes: Iterable[onnx.NodeProto]) -> _Size:
        size = _Size(0, 0)
        for node in nodes:
            key = _key(node)
            own = _Size(1, 0 if any(checks.subgraphs(node)) else node.ByteSize())
            size += sizes[key] if key in bodies else own
        return size

    waiting = list(bodies)
    inside: set[_Key] = set()  # functions whose callees are being sized
    while waiting:
        key = waiting[-1]
        missing = [] if key in sizes else [k for k in called(bodies[key]) if k not in sizes]
        if not missing:
            waiting.pop()
            inside.discard(key)
            if key not in sizes:
                sizes[key] = total(bodies[key]) + _Size(0, defaults[key])
            continue
        inside.add(key)
        circle = next((k for k in missing if k in inside), None)
        if circle is not None:
            raise InvalidModel(f'the function "{circle[1]}" of the ONNX model calls itself')
        waiting += dict.fromkeys(missing)
    return total(checks.walk(model.graph))


def _key(node: onnx.NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload
