"""What operators run inside of themselves, as graphs of operators: how much they multiply is counted there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.errors import CompileError
from furiosa.compiler.frontend.onnx import attributes, shapes
from furiosa.compiler.frontend.onnx.constants import CODES, DTYPES, Constants, is_numpy
from furiosa.compiler.frontend.onnx.inference import Inference
from furiosa.compiler.frontend.onnx.wire import SMALL

Scope = Callable[[str], Tensor | None]  # what a name stands for outside

_OPERATORS = ("If", "Loop", "Scan", "SequenceMap")


class Bodies:
    """Makes the bodies of one model's operators.

    Args:
        ir_version, opsets: of the model.
        reader: of its constants.
    """

    def __init__(self, ir_version: int, opsets: dict[str, int], reader: Constants) -> None:
        self._ir_version, self._opsets, self._reader = ir_version, opsets, reader

    def of(self, node: onnx.NodeProto, scope: Scope) -> dict[str, Graph] | None:
        """The graphs in a node's attributes, by the attributes' names; None for a node that runs no others.

        A tensor whose shape is not known has the shape None.
        """
        if node.op_type not in _OPERATORS or node.domain:
            return None
        return {a.name: self._graph(node, a.g, scope) for a in node.attribute if a.HasField("g")}

    def of_function(self, function: onnx.FunctionProto, scope: Scope) -> dict[str, Graph]:
        """The graph of a region; what its names stand for is known outside."""
        operators = self._operators(function.node, scope)
        inputs, outputs = ([_named(scope, n) for n in names] for names in (function.input, function.output))
        return {"function": Graph("onnx", function.name, inputs, outputs, operators)}

    def _graph(self, node: onnx.NodeProto, graph: onnx.GraphProto, scope: Scope) -> Graph:
        stated = [shapes.static_shape(v.type) for v in graph.input]
        handed = _handed(node, scope) if not all(s is not None for s in stated) else {}
        given = [handed.get(i) if s is None else s for i, s in enumerate(stated)]
        # what a loop hands from turn to turn has the shape that it starts with, if the body keeps it
        nodes, tensors = self._inferred(graph, given, scope)
        if node.op_type in ("Loop", "Scan") and not all(
            s is not None or g is None or _kept(node, graph, i, g, tensors)
            for i, (s, g) in enumerate(zip(stated, given))
        ):
            nodes, tensors = self._inferred(graph, stated, scope)

        def inner(name: str) -> Tensor | None:
            return tensors.get(name) or scope(name)

        operators = self._operators(nodes, inner)
        inputs = [_named(inner, v.name) for v in graph.input]
        return Graph("onnx", graph.name, inputs, [_named(inner, v.name) for v in graph.output], operators)

    def _inferred(
        self, graph: onnx.GraphProto, given: list[tuple[int, ...] | None], scope: Scope
    ) -> tuple[Iterable[onnx.NodeProto], dict[str, Tensor]]:
        """The nodes that are left after folding, and all tensors that a graph itself defines."""
        model = onnx.ModelProto(ir_version=self._ir_version)
        model.opset_import.extend(
            onnx.OperatorSetIdProto(domain=d, version=v) for d, v in sorted(self._opsets.items())
        )
        model.graph.CopyFrom(graph)
        own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for value, shape in zip(model.graph.input, given):
            value.type.CopyFrom(_typed(value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT, shape))
        for t in (scope(name) for name in _free(graph)):
            if t is None or t.name in own or t.dtype not in CODES:
                continue
            own.add(t.name)
            if t.is_constant and is_numpy(t.dtype) and t.data.nbytes <= SMALL:
                model.graph.initializer.append(onnx.numpy_helper.from_array(t.data, t.name))
            else:
                model.graph.input.append(
                    onnx.ValueInfoProto(name=t.name, type=_typed(CODES[t.dtype], t.shape))
                )
        try:
            inference = Inference(model, {}, self._reader)
            inference.run()
        except CompileError:  # whether the model is sound is not to be found out here
            return graph.node, {}
        tensors = {n: _tensor(n, t) for n, t in inference.types.items()} | inference.constants
        return model.graph.node, {n: t for n, t in tensors.items() if n in own or scope(n) is None}

    def _operators(self, nodes: Iterable[onnx.NodeProto], scope: Scope) -> list[Operator]:
        out = []
        for i, node in enumerate(nodes):
            inputs = [_named(scope, n) if n else None for n in node.input]
            outputs = [_named(scope, n) for n in node.output]
            name = node.name or next((o for o in node.output if o), f"{node.op_type}:{i}")
            stated = attributes.complete(node, self._reader, self._opsets)
            bodies = self.of(node, scope)
            out.append(Operator(name, node.op_type, inputs, outputs, stated, node, bodies))
        return out


def scope_of(tensors: Mapping[str, Tensor], types: Mapping[str, onnx.TypeProto]) -> Scope:
    """The names of a main graph: its tensors, and of those that are none the types that are known."""

    def scope(name: str) -> Tensor | None:
        return tensors.get(name) or (_tensor(name, types[name]) if name in types else None)

    return scope


def _tensor(name: str, value: onnx.TypeProto) -> Tensor:
    kind = value.WhichOneof("value") or "tensor_type"
    dtype = DTYPES.get(value.tensor_type.elem_type, "float32") if kind == "tensor_type" else kind
    return Tensor(name, shapes.static_shape(value), dtype)


def _named(scope: Scope, name: str) -> Tensor:
    """What a name stands for; a tensor of which nothing is known where it stands for nothing that is."""
    return scope(name) or Tensor(name, None, "float32")


def _typed(element: int, shape: tuple[int, ...] | None) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(element, shape)


def _free(graph: onnx.GraphProto) -> list[str]:
    from furiosa.compiler.frontend.onnx.checks import free_names

    holder = onnx.NodeProto()
    holder.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)
    return free_names(holder)


def _handed(node: onnx.NodeProto, scope: Scope) -> dict[int, tuple[int, ...]]:
    """The shapes that a loop's body is started with, by the position of its input."""
    found: dict[int, tuple[int, ...]] = {}
    if node.op_type == "Loop":
        found = {0: (), 1: ()}
        sources = enumerate(node.input[2:], start=2)
    elif node.op_type == "Scan":
        sources = enumerate(node.input[: _states(node)])
        found = _slices(node, scope)
    else:
        return {}
    for i, name in sources:
        t = scope(name) if name else None
        if t is not None and t.shape is not None:
            found[i] = t.shape
    return found


def _states(node: onnx.NodeProto) -> int:
    """How many of a Scan's inputs are states; the others are scanned."""
    return len(node.input) - next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)


def _slices(node: onnx.NodeProto, scope: Scope) -> dict[int, tuple[int, ...]]:
    """The shapes of what a Scan takes out of each scanned input in a turn."""
    first = _states(node)
    axes = next((list(a.ints) for a in node.attribute if a.name == "scan_input_axes"), [])
    found = {}
    for i, name in enumerate(node.input[first:]):
        t = scope(name)
        axis = axes[i] if i < len(axes) else 0
        if t is not None and t.shape is not None and -len(t.shape) <= axis < len(t.shape):
            found[first + i] = tuple(d for k, d in enumerate(t.shape) if k != axis % len(t.shape))
    return found


def _kept(
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    position: int,
    shape: tuple[int, ...],
    tensors: dict[str, Tensor],
) -> bool:
    """Whether a body gives a state the shape that it came with."""
    if position < 2 if node.op_type == "Loop" else position >= _states(node):  # no state
        return True
    at = position - 1 if node.op_type == "Loop" else position
    if at >= len(graph.output):
        return False
    made = tensors.get(graph.output[at].name)
    return made is not None and made.shape == shape
