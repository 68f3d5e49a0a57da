"""Which operators are quantised together: nothing lies between them, so that the NPU computes them as one.

A unit is an operator with the activation after it, a matrix product with its bias, or all operators that are together one function of one tensor.
Whether the NPU takes a unit so, the compiler says (``plan``); here is only what is worth asking.
"""

from __future__ import annotations

from dataclasses import dataclass

from furiosa.compiler import quantizable
from furiosa.compiler.dfg.graph import Graph, Operator, Tensor


@dataclass(slots=True, eq=False)
class Unit:
    """Operators in topological order between quantised tensors."""

    operators: list[Operator]


class Uses:
    """Who makes and who reads each tensor of a graph."""

    def __init__(self, graph: Graph):
        self.results = set(graph.outputs)
        self.producer: dict[Tensor, Operator] = {}
        self.readers: dict[Tensor, list[Operator]] = {}
        for op in graph.operators:
            for t in op.outputs:
                self.producer[t] = op
            for t in dict.fromkeys(op.inputs):
                if t is not None:
                    self.readers.setdefault(t, []).append(op)

    def only_reader(self, t: Tensor) -> Operator | None:
        """The one operator that reads a tensor; None where there are others or it is a result of the model."""
        readers = self.readers.get(t, [])
        return readers[0] if len(readers) == 1 and t not in self.results else None


def is_activation(t: Tensor | None) -> bool:
    """Whether a tensor is one that may be quantised: computed float32 numbers."""
    return t is not None and t.dtype == "float32" and not t.is_constant and bool(t.name) and t.size > 0


def is_candidate(op: Operator) -> bool:
    """Whether an operator computes float32 numbers from float32 numbers."""
    return op.bodies is None and any(map(is_activation, op.inputs)) and any(map(is_activation, op.outputs))


def find(graph: Graph) -> list[Unit]:
    """The units of all candidates, in the order of their first operators."""
    uses = Uses(graph)
    taken: dict[Operator, Unit] = {}
    for members in _functions(graph, uses):
        unit = Unit(members)
        taken |= dict.fromkeys(members, unit)
    for op in graph.operators:
        if op not in taken and is_candidate(op):
            unit = Unit(_followed(op, uses, taken))
            taken |= dict.fromkeys(unit.operators, unit)
    return list(dict.fromkeys(taken[op] for op in graph.operators if op in taken))


def _followed(op: Operator, uses: Uses, taken: dict[Operator, Unit]) -> list[Operator]:
    """An operator with the bias and the activation that it takes along."""
    members = [op]

    def next_after(kinds: tuple[str, ...]) -> Operator | None:
        user = uses.only_reader(members[-1].outputs[0]) if len(members[-1].outputs) == 1 else None
        if user is None or user in taken or user.op_type not in kinds or user.attributes.get("domain"):
            return None
        return user

    if op.op_type in (*quantizable.AFTER_ANY, *quantizable.SHARING):
        return members
    if op.op_type == "MatMul":
        bias = next_after(("Add",))
        if bias is not None and _is_bias(bias, op):
            members.append(bias)
            if len(bias.outputs[0].shape) > 2:
                return members
    kinds = quantizable.AFTER_ANY + (quantizable.AFTER_CONVOLUTION if op.op_type == "Conv" else ())
    activation = next_after(kinds)
    if (
        activation is not None
        and activation.inputs[0] is members[-1].outputs[0]
        and all(t is None or t.is_constant for t in activation.inputs[1:])
    ):
        members.append(activation)
    return members


def _is_bias(add: Operator, product: Operator) -> bool:
    (y,) = product.outputs
    others = [t for t in add.inputs if t is not y]
    weight = product.inputs[1]
    if len(others) != 1 or not weight.is_constant or len(weight.shape) != 2:
        return False
    return others[0].is_constant and others[0].shape == y.shape[-1:]


# -- functions of one tensor ------------------------------------------------------------------------------------------------


def _functions(graph: Graph, uses: Uses) -> list[list[Operator]]:
    """Operators, two or more together, that compute each number from the number at its place in one tensor.

    ``starts`` are results of functions that others begin with: results of the model, and what somebody reads who is not of the function, or
    of one that ends elsewhere.  Each may change where others begin, so the search is done again until there are no more.
    """
    functions = [op for op in graph.operators if _is_function(op)]
    starts = set(uses.results)
    while True:
        root = _roots(functions, starts)
        end = _ends(functions, root, starts, uses)
        stopped = {t for op in functions if (t := op.outputs[0]) not in starts and end[t] is t}
        if not stopped:
            break
        starts |= stopped
    groups: dict[Tensor, list[Operator]] = {}
    for op in functions:
        if op in root:
            groups.setdefault(end[op.outputs[0]], []).append(op)
    return [ops for ops in groups.values() if len(ops) > 1]


def _roots(functions: list[Operator], starts: set[Tensor]) -> dict[Operator, Tensor]:
    """The tensor that each operator's function begins with; none for an operator of several."""
    root: dict[Operator, Tensor] = {}
    begins: dict[Tensor, Tensor] = {}  # of the results that lie within a function
    for op in functions:
        found = {begins.get(t, t) for t in op.inputs if is_activation(t)}
        if len(found) == 1:
            (root[op],) = found
            if op.outputs[0] not in starts:
                begins[op.outputs[0]] = root[op]
    return root


def _ends(
    functions: list[Operator], root: dict[Operator, Tensor], starts: set[Tensor], uses: Uses
) -> dict[Tensor, Tensor]:
    """The last result of the function that each result is part of; itself where others than this function read it."""
    end: dict[Tensor, Tensor] = {}
    for op in reversed(functions):
        y = op.outputs[0]
        end[y] = y
        readers = uses.readers.get(y, [])
        if y not in starts and op in root and readers and all(root.get(r) is root[op] for r in readers):
            ends = {end[r.outputs[0]] for r in readers}
            if len(ends) == 1:
                (end[y],) = ends
    return end


def _is_function(op: Operator) -> bool:
    if not is_candidate(op) or not quantizable.is_function(op):
        return False
    shape = op.outputs[0].shape
    return all(
        t is None or (t.is_constant and t.size == 1) or (is_activation(t) and t.shape == shape)
        for t in op.inputs
    )
